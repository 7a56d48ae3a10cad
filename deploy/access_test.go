// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"flock.fritzlab.net/flock/test/lab"
)

// pod makes flock's pod of a node, as the DaemonSet's controller would, and returns the kubeconfig that its
// token makes.
func (c cluster) pod(node string) string {
	c.Helper()
	c.MakeNode(c.T, node)
	template := c.Kubectl(c.T, "get", "daemonset", "-n", "flock-system", "flock", "-o", "jsonpath={.spec.template.spec}")
	name := "flock-" + node
	c.Apply(c.T, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": %q, "namespace": "flock-system"}, "spec": {"nodeName": %q, %s}`,
		name, node, strings.TrimPrefix(template, "{")))
	pod := c.Pod(c.T, "flock-system", name)
	c.Cleanup(func() { c.RemovePod(c.T, pod) })
	return c.PodAccount(c.T, pod)
}

func TestPermissions(t *testing.T) {
	c := newCluster(t)
	account := c.ServiceAccount(t, "flock-system", "flock")
	tests := []struct{ request, want string }{
		// What the daemons do.
		{"get nodeconfigs", "yes"},
		{"list nodeconfigs", "yes"},
		{"watch nodeconfigs", "yes"},
		{"patch nodeconfigs --subresource=status", "yes"},
		{"list pods -A", "yes"},
		{"watch pods -A", "yes"},
		{"create events -n elsewhere", "yes"},
		{"patch events -n elsewhere", "yes"},
		{"get nodes", "yes"},
		{"list nodes", "yes"},
		{"watch nodes", "yes"},
		{"patch nodes --subresource=status", "yes"},
		{"get secrets -n flock-system", "yes"},
		{"list secrets -n flock-system", "yes"},
		{"watch secrets -n flock-system", "yes"},
		// What they must not.
		{"* *", "no"},
		{"create nodeconfigs", "no"},
		{"update nodeconfigs", "no"},
		{"patch nodeconfigs", "no"},
		{"delete nodeconfigs", "no"},
		{"update nodeconfigs --subresource=status", "no"},
		{"get pods", "no"},
		{"create pods", "no"},
		{"patch pods", "no"},
		{"delete pods", "no"},
		{"create pods --subresource=exec", "no"},
		{"create pods --subresource=eviction", "no"},
		{"get pods --subresource=log", "no"},
		{"patch pods --subresource=status", "no"},
		{"list events", "no"},
		{"delete events", "no"},
		{"patch nodes", "no"},
		{"update nodes", "no"},
		{"delete nodes", "no"},
		{"get nodes --subresource=proxy", "no"},
		{"update nodes --subresource=status", "no"},
		{"get secrets -n kube-system", "no"},
		{"list secrets -A", "no"},
		{"create secrets -n flock-system", "no"},
		{"patch secrets -n flock-system", "no"},
		{"delete secrets -n flock-system", "no"},
		{"get configmaps -n flock-system", "no"},
		{"get leases -n flock-system", "no"},
		{"patch daemonsets.apps -n flock-system", "no"},
		{"create serviceaccounts --subresource=token -n flock-system", "no"},
		{"patch customresourcedefinitions", "no"},
		{"patch validatingadmissionpolicies", "no"},
		{"impersonate users", "no"},
		{"escalate clusterroles", "no"},
		{"bind clusterroles", "no"},
		{"patch clusterroles", "no"},
	}
	may := func(request string) string {
		out, _ := c.as(account, append([]string{"auth", "can-i"}, strings.Fields(request)...)...)
		return strings.TrimSpace(out)
	}
	must(t, lab.Within(t.Context(), 10*time.Second, "the roles are in force", func() error {
		if got := may(tests[0].request); got != "yes" {
			return fmt.Errorf("may flock %s? %s", tests[0].request, got)
		}
		return nil
	}))
	for _, tt := range tests {
		if got := may(tt.request); got != tt.want {
			t.Errorf("may flock %s? %q, want %s", tt.request, got, tt.want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patchStatus sends one request, as the daemons do: kubectl would read the object first, which they may not.
func patchStatus(t *testing.T, kubeconfig, object, patch string) error {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	must(t, err)
	client, err := rest.HTTPClientFor(config)
	must(t, err)
	defer client.CloseIdleConnections()
	url := config.Host + "/api/v1/" + object + "/status"
	kind := "application/strategic-merge-patch+json"
	if strings.HasPrefix(object, "nodeconfigs/") {
		url, kind = config.Host+"/apis/flock.fritzlab.net/v1alpha1/"+object+"/status", "application/merge-patch+json"
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, url, strings.NewReader(patch))
	must(t, err)
	request.Header.Set("Content-Type", kind)
	answer, err := client.Do(request)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	if answer.StatusCode != http.StatusOK {
		return errors.New(string(text))
	}
	return nil
}

// TestOwnNode: a token of one node's pod changes nothing of another, and of its own only what flock owns.
func TestOwnNode(t *testing.T) {
	c := newCluster(t)
	kubeconfig, unbound := c.pod("own"), c.ServiceAccount(t, "flock-system", "flock")
	c.MakeNode(t, "other")
	admin := c.Kubeconfig(t)
	for _, node := range []string{"own", "other"} {
		c.Apply(t, fmt.Sprintf(`{"apiVersion": "flock.fritzlab.net/v1alpha1", "kind": "NodeConfig", "metadata": {"name": %q}, "spec": {}}`, node))
		t.Cleanup(func() { c.TryKubectl(context.Background(), admin, "", "delete", "nodeconfig", node) })
	}
	const (
		pools     = `{"status": {"pools": [{"name": "a", "cidr": "fd00::/64", "allocated": 1, "cooling": 0, "free": 1}]}}`
		network   = `{"status": {"conditions": [{"type": "NetworkUnavailable", "status": "False", "reason": "FlockAnnounces"}]}}`
		ready     = `{"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Mischief"}]}}`
		labels    = `{"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}`
		addresses = `{"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.66"}]}}`
		capacity  = `{"status": {"capacity": {"example.net/gold": "1"}}}`
	)
	tests := []struct{ kubeconfig, object, patch, refused string }{
		{kubeconfig, "nodeconfigs/own", pools, ""},
		{kubeconfig, "nodeconfigs/other", pools, "flock of node own writes of no node but its own"},
		{unbound, "nodeconfigs/own", pools, "flock of node (none) writes of no node but its own"},
		{kubeconfig, "nodes/own", network, ""},
		{kubeconfig, "nodes/own", strings.Replace(network, "False", "True", 1), ""},
		{kubeconfig, "nodes/other", network, "flock of node own writes of no node but its own"},
		{unbound, "nodes/own", network, "flock of node (none) writes of no node but its own"},
		{kubeconfig, "nodes/own", ready, "flock sets the condition NetworkUnavailable of a Node and no other"},
		{kubeconfig, "nodes/own", labels, "flock changes nothing of a Node but"},
		{kubeconfig, "nodes/own", addresses, "flock changes nothing of a Node but"},
		{kubeconfig, "nodes/own", capacity, "flock changes nothing of a Node but"},
	}
	patch := func(kubeconfig, object, patch string) error { return patchStatus(t, kubeconfig, object, patch) }
	// Policies come into force some moments after they are made.
	must(t, lab.Within(t.Context(), 20*time.Second, "the policies are in force", func() error {
		if err := patch(unbound, "nodes/own", network); err == nil {
			return fmt.Errorf("an unbound token writes a Node's condition")
		}
		return patch(kubeconfig, "nodes/own", network)
	}))
	for _, tt := range tests {
		err := patch(tt.kubeconfig, tt.object, tt.patch)
		switch {
		case tt.refused == "" && err != nil:
			t.Errorf("patch %s %s: %v", tt.object, tt.patch, err)
		case tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)):
			t.Errorf("patch %s %s: %v, want refused: %s", tt.object, tt.patch, err, tt.refused)
		}
	}
}
