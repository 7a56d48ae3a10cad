// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
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

// TestPermissions: requests are "verb resource.group/subresource in namespace".
func TestPermissions(t *testing.T) {
	c := newCluster(t)
	account := c.ServiceAccount(t, "flock-system", "flock")
	allowed := []string{
		"list nodeconfigs.flock.fritzlab.net", "watch nodeconfigs.flock.fritzlab.net",
		"patch nodeconfigs.flock.fritzlab.net/status",
		"list pods", "watch pods",
		"create events in elsewhere", "patch events in elsewhere",
		"get nodes", "list nodes", "watch nodes", "patch nodes/status",
		"list secrets in flock-system", "watch secrets in flock-system",
	}
	refused := []string{
		"get nodeconfigs.flock.fritzlab.net", "create nodeconfigs.flock.fritzlab.net", "update nodeconfigs.flock.fritzlab.net", "patch nodeconfigs.flock.fritzlab.net",
		"delete nodeconfigs.flock.fritzlab.net", "update nodeconfigs.flock.fritzlab.net/status",
		"get pods", "create pods", "patch pods", "delete pods", "patch pods/status", "get pods/log", "create pods/exec",
		"create pods/eviction", "create pods/binding",
		"get events", "list events", "delete events",
		"patch nodes", "update nodes", "delete nodes", "update nodes/status", "get nodes/proxy",
		"list secrets", "get secrets in flock-system", "get secrets in kube-system", "create secrets in flock-system", "patch secrets in flock-system",
		"delete secrets in flock-system",
		"get configmaps in flock-system", "get leases.coordination.k8s.io in flock-system",
		"patch daemonsets.apps in flock-system", "create serviceaccounts/token in flock-system",
		"patch customresourcedefinitions.apiextensions.k8s.io",
		"patch validatingadmissionpolicies.admissionregistration.k8s.io",
		"impersonate users", "patch clusterroles.rbac.authorization.k8s.io", "bind clusterroles.rbac.authorization.k8s.io",
		"* *.*",
	}
	must(t, lab.Within(t.Context(), 10*time.Second, "the roles are in force", func() error {
		if !may(t, account, allowed[0]) || !may(t, account, allowed[len(allowed)-1]) {
			return errors.New("not yet")
		}
		return nil
	}))
	for _, request := range allowed {
		if !may(t, account, request) {
			t.Errorf("flock may not %s", request)
		}
	}
	for _, request := range refused {
		if may(t, account, request) {
			t.Errorf("flock may %s", request)
		}
	}
}

// may asks the API server whether the holder of the kubeconfig may do what the request says.
func may(t *testing.T, kubeconfig, request string) bool {
	t.Helper()
	request, namespace, _ := strings.Cut(request, " in ")
	verb, what, _ := strings.Cut(request, " ")
	what, sub, _ := strings.Cut(what, "/")
	resource, group, _ := strings.Cut(what, ".")
	var review authorizationv1.SelfSubjectAccessReview
	review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Verb: verb, Group: group, Resource: resource, Subresource: sub, Namespace: namespace,
	}
	question, err := json.Marshal(review)
	must(t, err)
	answer, err := send(t, kubeconfig, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json", string(question))
	must(t, err)
	must(t, json.Unmarshal(answer, &review))
	return review.Status.Allowed
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send makes one request. An answer that is not one of success is an error.
func send(t *testing.T, kubeconfig, method, path, kind, body string) ([]byte, error) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	must(t, err)
	client, err := rest.HTTPClientFor(config)
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, strings.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", kind)
	answer, err := client.Do(request)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	if answer.StatusCode/100 != 2 {
		err = errors.New(string(text))
	}
	return text, err
}

// patchStatus patches as the daemons do: kubectl would read the object first, which they may not.
func patchStatus(t *testing.T, kubeconfig, object, patch string) error {
	t.Helper()
	path, kind := "/api/v1/", "application/strategic-merge-patch+json"
	if strings.HasPrefix(object, "nodeconfigs/") {
		path, kind = "/apis/flock.fritzlab.net/v1alpha1/", "application/merge-patch+json"
	}
	_, err := send(t, kubeconfig, http.MethodPatch, path+object+"/status", kind, patch)
	return err
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
