// SPDX-License-Identifier: Apache-2.0

package anycast_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

const port = 7000

// newNode is a site on a node of a lab, whose pods the real stages attach.
func newNode(t *testing.T, api *apiserver.Server) (*site, *lab.Node) {
	t.Helper()
	bin, err := build.Flock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(lab.Options{Name: lab.UniqueName("flt-anycast"), Nodes: 1, Bin: bin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	node := l.Nodes[0]
	// Ports count in the choice of a pod: every connection chooses anew.
	for _, family := range []string{"ipv6", "ipv4"} {
		if err := node.Sysctl(family+"/fib_multipath_hash_policy", "1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := node.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, api: api, host: &hosttest.Host{Netns: node.Netns}, store: store.Store{Dir: node.StateDir()},
		node: node.Netns.Name, namespace: api.Namespace(t)}
	s.dial()
	return s, node
}

// serve attaches a pod through the stages and has it answer at both addresses.
func (s *site) serve(node *lab.Node, name string, addrs ...netip.Addr) (*lab.Pod, *corev1.Pod) {
	s.Helper()
	object := s.makePod(name, addrs...)
	pod, err := node.NewPod(name, object.Annotations)
	if err != nil {
		s.Fatal(err)
	}
	pod.Pod = identity(object)
	if err := node.Runtime.Add(s.Context(), pod); err != nil {
		s.Fatal(err)
	}
	service, err := pod.Serve(context.Background(), name, port, addrs...)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { service.Close() })
	return pod, object
}

// awaitAnswers waits until these pods, and no others, answer at each address.
func (s *site) awaitAnswers(from *lab.Netns, addrs []netip.Addr, want ...string) {
	s.Helper()
	err := lab.Within(context.Background(), time.Minute, fmt.Sprint("new connections reach ", want), func() error {
		for _, addr := range addrs {
			have := map[string]bool{}
			for range 20 {
				name, err := from.Ask(context.Background(), "tcp", netip.AddrPortFrom(addr, port))
				if err != nil {
					return err
				}
				have[name] = true
			}
			if got := slices.Sorted(maps.Keys(have)); !slices.Equal(got, want) {
				return fmt.Errorf("%s: %v", addr, got)
			}
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

// TestTraffic sends new connections to pods of one node that share their addresses, as they become ready and
// cease to be, through the real stages' routes.
func TestTraffic(t *testing.T) {
	api := apiserver.Start(t)
	s, node := newNode(t, api)
	addrs := []netip.Addr{any6, netip.MustParseAddr("10.9.9.9")}
	k, stop := s.start()
	podOne, one := s.serve(node, "one", addrs...)
	_, two := s.serve(node, "two", addrs...)
	k.Attachment(cni.Attachment{Network: "flock", ContainerID: podOne.ContainerID, IfName: "eth0"})
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"none is ready", func() {}, []string{"one", "two"}},
		{"one is ready", func() { api.SetReady(t, one, true) }, []string{"one"}},
		{"both are ready", func() { api.SetReady(t, two, true) }, []string{"one", "two"}},
		{"two is not", func() { api.SetReady(t, two, false) }, []string{"one"}},
		{"none is", func() { api.SetReady(t, one, false) }, []string{"one", "two"}},
		{"two alone is", func() { api.SetReady(t, two, true) }, []string{"two"}},
		{"two is being deleted", func() { api.DeletePod(t, two) }, []string{"one", "two"}},
		{"one is ready again", func() { api.SetReady(t, one, true) }, []string{"one"}},
	} {
		t.Log(step.name)
		step.do()
		s.awaitAnswers(node.Netns, addrs, step.want...)
	}
	stop()
	if err := node.Runtime.Check(t.Context(), podOne); err != nil {
		t.Errorf("CHECK of the pod that is ready: %v", err)
	}
	if err := node.Runtime.Del(t.Context(), podOne); err != nil {
		t.Fatal(err)
	}
	t.Log("the ready one is gone, and no birdd runs")
	s.awaitAnswers(node.Netns, addrs, "two")
}
