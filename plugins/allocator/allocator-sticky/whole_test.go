// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

const wholeKind = "flt-whole"

// whole is a cluster of two nodes with all of flock.
type whole struct {
	*testing.T
	*apiserver.Server
	*lab.Lab
	namespace string
	links     map[*lab.Node]*apiserver.Link
	sandboxes int
}

func newWhole(t *testing.T) *whole {
	t.Helper()
	_, err := lab.Sweep(wholeKind)
	must(t, err)
	bin, err := build.Flock(t.Context())
	must(t, err)
	l, err := lab.New(lab.Options{Name: lab.UniqueName(wholeKind), Nodes: 2, Bin: bin})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	s := apiserver.New(t) // nodes are called node1 and node2
	s.CRDs(t)
	s.Kubectl(t, "apply", "--server-side", "-k", "../../../deploy/base")
	applyComponent(t, s)
	w := &whole{T: t, Server: s, Lab: l, namespace: s.Namespace(t), links: map[*lab.Node]*apiserver.Link{}}
	for _, n := range l.Nodes {
		makeNode(t, s, n.Name)
		n.Kubernetes = &lab.Kubernetes{Kubeconfig: s.Agent(t, "flock-system", "flock", n.Name), NodeName: n.Name}
		w.links[n] = s.Reach(t, n.Netns)
		must(t, n.Install(t.Context()))
		w.configure(n)
		w.startIpamd(n)
	}
	t.Cleanup(w.logFailure)
	must(t, l.StartRouting(t.Context()))
	return w
}

func (w *whole) startIpamd(n *lab.Node) {
	w.Helper()
	must(w.T, n.StartIpamd("--interval", "1s", "--extensions", filepath.Dir(program)))
}

func (w *whole) logFailure() {
	for _, n := range w.Nodes {
		if w.Failed() && n.Ipamd != nil {
			w.Logf("ipamd of %s said last:\n%s", n.Name, n.Ipamd.LastWords())
		}
	}
}

var wholeConfig = template.Must(template.New("").Parse(`apiVersion: flock.fritzlab.net/v1alpha1
kind: NodeConfig
metadata: {name: {{.Name}}}
spec:
  pools:
  - {name: default6, cidr: "{{.Pool6}}"}
  - {name: default4, cidr: {{.Pool4}}}
  - {name: sticky6, cidr: "2001:db8:ffff::/64", allocator: sticky, announce: addresses}
  - {name: sticky4, cidr: 10.245.0.0/24, allocator: sticky, announce: addresses}
  bgp:
    localASN: {{.ASN}}
    routerID: {{.Address4}}
    peers:
    - {name: tor6, address: "{{.Router6}}", peerASN: 65000}
    - {name: tor4, address: {{.Router4}}, peerASN: 65000}
`))

func (w *whole) configure(n *lab.Node) {
	w.Helper()
	var text bytes.Buffer
	must(w.T, wholeConfig.Execute(&text, n))
	w.Apply(w.T, text.String())
}

// pod makes the pod db-0 anew, on the node.
func (w *whole) pod(n *lab.Node) *lab.Pod {
	w.Helper()
	w.Kubectl(w.T, "delete", "pod", "-n", w.namespace, "db-0", "--ignore-not-found", "--force", "--grace-period=0")
	w.Apply(w.T, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db-0", "namespace": %q, "ownerReferences": [
		{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true}]},
		"spec": {"nodeName": %q, "containers": [{"name": "main", "image": "registry.example/main:1"}]}}`, w.namespace, n.Name))
	w.sandboxes++
	pod, err := n.NewPod(fmt.Sprint("db-0-", w.sandboxes), map[string]string{"flock.fritzlab.net/cidr6": "2001:db8:ffff::/64", "flock.fritzlab.net/cidr4": "10.245.0.0/24"})
	must(w.T, err)
	pod.Pod = cni.Pod{Namespace: w.namespace, Name: "db-0", UID: string(w.Pod(w.T, w.namespace, "db-0").UID)}
	return pod
}

// serves wants that the pod is reached by the router, through its node, at these addresses unless there are none yet.
func (w *whole) serves(n *lab.Node, pod *lab.Pod, want ...netip.Addr) []netip.Addr {
	w.Helper()
	got := pod.Addresses()
	if len(got) != 2 || want != nil && (got[0] != want[0] || got[1] != want[1]) {
		w.Fatalf("the pod has %v, want %v", got, want)
	}
	for _, addr := range got {
		must(w.T, w.Router.AwaitHops(w.Context(), 20*time.Second, addr, n))
	}
	_, _, err := w.Router.PingPod(w.Context(), pod)
	must(w.T, err)
	w.noted(n, pod)
	return got
}

// noted waits until ipamd has seen the pod, and its routes: else the DEL of a pod whose namespace stays is released late.
func (w *whole) noted(n *lab.Node, pod *lab.Pod) {
	w.Helper()
	must(w.T, lab.Within(w.Context(), 10*time.Second, "ipamd has seen "+pod.Name, func() error {
		raw, err := os.ReadFile(filepath.Join(n.StateDir(), "allocators.json"))
		if err == nil && (!bytes.Contains(raw, []byte(pod.ContainerID)) || bytes.Contains(raw, []byte(`"netns"`))) {
			err = fmt.Errorf("it knows of %s", raw)
		}
		return err
	}))
}

// TestWhole has a pod of a StatefulSet move between two nodes with all that flock consists of.
func TestWhole(t *testing.T) {
	w := newWhole(t)
	one, two := w.Nodes[0], w.Nodes[1]
	first := w.pod(one)
	must(t, lab.Within(t.Context(), 30*time.Second, "the policies are in force, and the pod is attached", func() error {
		return one.Runtime.Add(t.Context(), first)
	}))
	addrs := w.serves(one, first)

	// The usual way.
	must(t, one.Runtime.Del(t.Context(), first))
	second := w.pod(two)
	begun := time.Now()
	must(t, two.Runtime.Add(t.Context(), second))
	t.Logf("the ADD on the other node, at once after the DEL, took %s", time.Since(begun))
	w.serves(two, second, addrs...)

	// The node is lost, and its pod runs on.
	w.links[two].Cut()
	must(t, two.Ipamd.End(t.Context(), syscall.SIGKILL))
	w.Kubectl(t, "patch", "node", two.Name, "--subresource=status", "--type=merge", "-p", `{"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}`)
	third := w.pod(one)
	err := one.Runtime.Add(t.Context(), third)
	for _, text := range []string{"(allocator sticky)", "on node " + two.Name + " has its address", "kubectl taint node " + two.Name} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Fatalf("ADD while the node is lost: %v\nwant %q in it", err, text)
		}
	}
	must(t, one.Runtime.Del(t.Context(), third))
	w.serves(two, second, addrs...)

	// It is back, and ends the pod: what was freed while nobody could be told is released then.
	must(t, two.Runtime.Del(t.Context(), second))
	w.links[two].Mend()
	w.startIpamd(two)
	third = w.pod(one)
	must(t, lab.Within(t.Context(), 30*time.Second, "the pod has its address", func() error {
		return one.Runtime.Add(t.Context(), third)
	}))
	w.serves(one, third, addrs...)
}
