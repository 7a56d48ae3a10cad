// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"testing"
	"text/template"

	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// site is a cluster whose two nodes and router are network namespaces, with flock's daemons on the nodes.
type site struct {
	cluster
	lab *lab.Lab
	bin string
}

const siteKind = "flt-deploy"

func newSite(t *testing.T) *site {
	t.Helper()
	_, err := lab.Sweep(siteKind)
	must(t, err)
	bin, err := build.Flock(t.Context())
	must(t, err)
	l, err := lab.New(lab.Options{Name: lab.UniqueName(siteKind), Nodes: 2, Bin: bin})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	s := &site{newCluster(t), l, bin}
	for _, n := range l.Nodes {
		s.MakeNode(t, n.Name)
		n.Kubernetes = &lab.Kubernetes{Kubeconfig: s.Agent(t, "flock-system", "flock", n.Name), NodeName: n.Name}
		s.Reach(t, n.Netns)
		must(t, n.Install(t.Context()))
		s.configure(n, n.Pool4.String(), n.Router4.String())
		must(t, n.StartIpamd("--interval", "1s"))
	}
	must(t, l.StartRouting(t.Context()))
	return s
}

var nodeConfig = template.Must(template.New("").Parse(`apiVersion: flock.fritzlab.net/v1alpha1
kind: NodeConfig
metadata: {name: {{.Node.Name}}}
spec:
  pools:
  - {name: default6, cidr: "{{.Node.Pool6}}"}
  - {name: default4, cidr: {{.Pool4}}}
  bgp:
    localASN: {{.Node.ASN}}
    routerID: {{.Node.Address4}}
    peers:
    - {name: tor6, address: "{{.Node.Router6}}", peerASN: 65000}
    - {name: tor4, address: {{.Router4}}, peerASN: 65000}
`))

// configure applies the node's NodeConfig.
func (s *site) configure(n *lab.Node, pool4, router4 string) {
	s.Helper()
	var text bytes.Buffer
	must(s.T, nodeConfig.Execute(&text, map[string]any{"Node": n, "Pool4": pool4, "Router4": router4}))
	s.Apply(s.T, text.String())
}

// attach makes a pod on the node, adds it to the network and makes it ready. The error is that of ADD.
func (s *site) attach(n *lab.Node, name string, annotations map[string]string) error {
	s.Helper()
	object := s.MakePod(s.T, "default", name, n.Name, annotations)
	pod, err := n.NewPod(name, annotations)
	must(s.T, err)
	pod.Pod = cni.Pod{Namespace: "default", Name: name, UID: string(object.UID)}
	if err := n.Runtime.Add(s.Context(), pod); err != nil {
		return err
	}
	s.SetReady(s.T, object, true)
	return nil
}
