// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"

	corev1 "k8s.io/api/core/v1"
)

// site is a cluster of one node that flock is the network of: a router, the node with its daemons, and an API server
// that the node reaches over link.
type site struct {
	*lab.Node
	t    *testing.T
	api  *apiserver.Server
	link *apiserver.Link
	// name is the node's at the API server, namespace that of its pods.
	name, namespace string

	client *kube.Client
	// ipamdFlags are added to ipamd's command line.
	ipamdFlags []string
}

// options of a site.
type options struct {
	// bin is the folder of flock's programs, flockBin unless set.
	bin string
	// unconfigured leaves it to the test to make a NodeConfig and to start BIRD.
	unconfigured bool
	// pool4 is the IPv4 pool, the node's own unless set.
	pool4 string
	// install are flags for flock-installer, ipamd more of them for ipamd.
	install []string
	ipamd   []string
}

// newSite builds a site; both daemons run, and pods may come.
func newSite(t *testing.T, api *apiserver.Server, o options) *site {
	t.Helper()
	if o.bin == "" {
		o.bin = flockBin
	}
	l, err := lab.New(lab.Options{Name: lab.UniqueName(kind), Nodes: 1, Bin: o.bin})
	check(t, err)
	t.Cleanup(func() { check(t, l.Close()) })
	deploy(t, api)
	client, err := kube.Connect(api.Kubeconfig(t), "test")
	check(t, err)
	s := &site{t: t, Node: l.Nodes[0], api: api, name: lab.UniqueName("node"), namespace: api.Namespace(t), client: client}
	// Every reconcile is two of the daemon's looks: a test would wait a minute.
	s.ipamdFlags = append([]string{"--interval", "1s", "--listen", ipamdAddress}, o.ipamd...)
	api.MakeNode(t, s.name)
	s.Kubernetes = &lab.Kubernetes{Kubeconfig: api.Agent(t, "flock-system", "flock", s.name), NodeName: s.name}
	s.link = api.Reach(t, s.Netns)
	s.logFailure()
	// ipamd is to make it.
	check(t, os.Remove(s.NodeFile()))
	check(t, s.Install(t.Context(), o.install...))
	if o.unconfigured {
		return s
	}
	if o.pool4 != "" {
		s.Pool4 = netip.MustParsePrefix(o.pool4)
	}
	s.configure(s.Pool6.String(), s.Pool4.String())
	s.startIpamd()
	check(t, l.StartRouting(t.Context()))
	s.awaitCondition(v1alpha1.ConditionReady, metav1.ConditionTrue)
	return s
}

var deployments sync.Map

// deploy applies deploy/base once a server, so that the daemons have the rights that it gives them and no others. No
// controller is there that would make pods of its DaemonSet.
func deploy(t testing.TB, api *apiserver.Server) {
	t.Helper()
	once, _ := deployments.LoadOrStore(api, new(sync.Once))
	once.(*sync.Once).Do(func() {
		root, err := build.Root()
		check(t, err)
		api.CRDs(t)
		api.Kubectl(t, "apply", "--server-side", "-k", filepath.Join(root, "deploy", "base"))
	})
}

var manifest = template.Must(template.New("nodeconfig").Parse(`apiVersion: flock.fritzlab.net/v1alpha1
kind: NodeConfig
metadata: {name: {{.Name}}}
spec:
  pools:
{{- range $i, $p := .Pools}}
  - {name: pool{{$i}}, cidr: "{{$p}}"}
{{- end}}
  bgp:
    localASN: {{.Node.ASN}}
    routerID: {{.Node.Address4}}
    peers:
    - {name: tor6, address: "{{.Node.Router6}}", peerASN: 65000}
    - {name: tor4, address: "{{.Node.Router4}}", peerASN: 65000}
`))

// configure applies the node's NodeConfig with these pools. The test removes it when it ends.
func (s *site) configure(pools ...string) {
	s.t.Helper()
	var text bytes.Buffer
	check(s.t, manifest.Execute(&text, map[string]any{"Name": s.name, "Node": s.Node, "Pools": pools}))
	s.api.Apply(s.t, text.String())
	s.t.Cleanup(func() { s.deleteNodeConfig() })
}

// deleteNodeConfig deletes it where it is there.
func (s *site) deleteNodeConfig() {
	s.client.NodeConfigs().Delete(s.t.Context(), s.name, metav1.DeleteOptions{})
}

func (s *site) startIpamd() {
	s.t.Helper()
	check(s.t, s.StartIpamd(s.ipamdFlags...))
}

// end ends a daemon by the signal.
func (s *site) end(p *lab.Process, sig os.Signal) {
	s.t.Helper()
	check(s.t, p.End(s.t.Context(), sig))
}

func (s *site) logFailure() {
	s.t.Cleanup(func() {
		if !s.t.Failed() {
			return
		}
		for _, p := range []*lab.Process{s.Ipamd, s.Birdd} {
			if p != nil {
				s.t.Logf("%s said last:\n%s", filepath.Base(p.Name), p.LastWords())
			}
		}
	})
}

// nodeConfig returns the node's NodeConfig as it is now.
func (s *site) nodeConfig() (*v1alpha1.NodeConfig, error) {
	return s.client.NodeConfigs().Get(s.t.Context(), s.name, metav1.GetOptions{})
}

// awaitCondition waits until a condition of the node's NodeConfig has the status, and returns it.
func (s *site) awaitCondition(kind string, status metav1.ConditionStatus) (condition metav1.Condition) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("condition %s of %s is %s", kind, s.name, status), func() error {
		nc, err := s.nodeConfig()
		if err != nil {
			return err
		}
		found := meta.FindStatusCondition(nc.Status.Conditions, kind)
		if found == nil || found.Status != status || found.ObservedGeneration != nc.Generation {
			return fmt.Errorf("conditions are %v of generation %d", nc.Status.Conditions, nc.Generation)
		}
		condition = *found
		return nil
	})
	return condition
}

// pod is a pod of the site: its object and its sandbox.
type pod struct {
	*lab.Pod
	object *corev1.Pod
}

// annotations that pods carry, by flock's short keys.
type annotations map[string]string

// newPod makes a pod whose annotations only the API server tells: the runtime has no capability for them.
func (s *site) newPod(name string, a annotations) *pod {
	s.t.Helper()
	full := map[string]string{}
	for key, value := range a {
		full["flock.fritzlab.net/"+key] = value
	}
	p := &pod{object: s.api.MakePod(s.t, s.namespace, name, s.name, full)}
	s.sandbox(p)
	return p
}

var sandboxes = struct {
	sync.Mutex
	count int
}{}

// sandbox gives the pod a network namespace and a container ID, as a runtime does.
func (s *site) sandbox(p *pod) {
	s.t.Helper()
	sandboxes.Lock()
	sandboxes.count++
	name := fmt.Sprintf("pod%d", sandboxes.count)
	sandboxes.Unlock()
	var err error
	p.Pod, err = s.NewPod(name, nil)
	check(s.t, err)
	p.Pod.Pod = cni.Pod{Namespace: p.object.Namespace, Name: p.object.Name, UID: string(p.object.UID)}
	p.Annotations = nil
}

// capable gives the pod's annotations to the plugins by the runtime, as containerd and CRI-O do.
func (p *pod) capable() *pod {
	p.Annotations = map[string]string{}
	for key, value := range p.object.Annotations {
		p.Annotations[key] = value
	}
	return p
}

func (s *site) add(p *pod) error { return s.Runtime.Add(s.t.Context(), p.Pod) }
func (s *site) del(p *pod) error { return s.Runtime.Del(s.t.Context(), p.Pod) }

// attach makes a pod and adds it to the network.
func (s *site) attach(name string, a annotations) *pod {
	s.t.Helper()
	p := s.newPod(name, a)
	check(s.t, s.add(p))
	return p
}

// all calls fn for every pod at once and returns what went wrong.
func all(pods []*pod, fn func(*pod) error) error {
	errs := make([]error, len(pods))
	var group sync.WaitGroup
	for i, p := range pods {
		group.Go(func() { errs[i] = fn(p) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// state is what is on the node, less what a daemon's files are.
func (s *site) state() []string {
	s.t.Helper()
	state, err := s.Node.State(s.t.Context())
	check(s.t, err)
	return state
}

// wantState waits until the node's state is the one before.
func (s *site) wantState(before []string) {
	s.t.Helper()
	await(s.t, "the node is as before", func() error {
		after, err := s.Node.State(s.t.Context())
		if diff := lab.Difference(before, after); err == nil && len(diff) > 0 {
			err = fmt.Errorf("it differs:\n%s", strings.Join(diff, "\n"))
		}
		return err
	})
}

// wantReachable pings the pods' own addresses, not the anycast ones, from the router.
func (s *site) wantReachable(pods ...*pod) {
	s.t.Helper()
	check(s.t, all(pods, func(p *pod) error {
		unicast, _, err := cni.Addresses(p.Result)
		if err != nil {
			return err
		}
		for _, a := range unicast {
			if _, err := s.Lab().Router.Ping(s.t.Context(), a, lab.PingOptions{Timeout: within}); err != nil {
				return fmt.Errorf("pod %s: %w\n%s", p.object.Name, err, s.way(p, a))
			}
		}
		return nil
	}))
}

// way is what the router, the node and the pod know of the way to one of the pod's addresses, and what they counted.
func (s *site) way(p *pod, a netip.Addr) string {
	var text strings.Builder
	for _, n := range []*lab.Netns{s.Lab().Router.Netns, s.Node.Netns, p.Netns} {
		for _, args := range []string{"ip route get " + a.String(), "ip neigh", "ip addr", "nstat -as"} {
			fields := strings.Fields(args)
			out, err := n.Run(s.t.Context(), fields[0], fields[1:]...)
			if err != nil {
				out = err.Error()
			}
			fmt.Fprintf(&text, "%s: %s\n%s\n", n.Name, args, out)
		}
	}
	return text.String()
}
