// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/test/cluster"
	"flock.fritzlab.net/flock/test/cluster/flow"
	"flock.fritzlab.net/flock/test/lab"
)

// traffic is flows to pods, from another pod and from the router.
type traffic struct {
	*space
	client netip.Addr
	router []*flow.Flow
}

// startTraffic starts flows to all addresses of the pods, and to their anycast addresses, once the router has the ways.
func (s *space) startTraffic(client *corev1.Pod, to ...*corev1.Pod) *traffic {
	s.Helper()
	t := &traffic{space: s, client: addresses(client)[0]}
	for _, pod := range to {
		all := append(addresses(pod), anycast(pod)...)
		for _, a := range all {
			s.ping(a)
		}
		s.startFlows(t.client, all...)
		for _, a := range at(udpPort, all...) {
			must(s, site.Router.Netns.Do(func() error {
				f, err := flow.Start(a)
				t.router = append(t.router, f)
				return err
			}))
		}
	}
	return t
}

// anycast returns the addresses of the pod's annotation.
func anycast(pod *corev1.Pod) []netip.Addr {
	var all []netip.Addr
	for _, a := range strings.FieldsFunc(pod.Annotations["flock.fritzlab.net/anycast"], func(r rune) bool { return r == ',' }) {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// stop stops the flows, and returns what became of them.
func (t *traffic) stop() []flow.Count {
	t.Helper()
	counts := make([]flow.Count, len(t.router))
	for i, f := range t.router {
		counts[i] = f.Stop()
	}
	return append(counts, t.stopFlows(t.client)...)
}

// wantWhole stops the flows, and wants that nothing was lost. Of what was sent to excused addresses a loss is printed
// and is no error.
func (t *traffic) wantWhole(excused ...netip.Addr) {
	t.Helper()
	sent := 0
	for _, count := range t.stop() {
		sent += count.Sent
		switch {
		case count.Lost == 0:
		case slices.Contains(excused, netip.MustParseAddrPort(count.To).Addr()):
			t.Logf("lost, since its pod was declared unready: %s", count)
		default:
			t.Errorf("lost: %s", count)
		}
	}
	t.Logf("%d datagrams were sent meanwhile", sent)
}

// wantPods makes a pod on the node, reaches it from the router and removes it: the node works.
func (s *space) wantPods(n *cluster.Node) {
	s.Helper()
	name := "fresh-" + n.Name
	s.run(name, on(n))
	for _, a := range addresses(s.ready(name)[0]) {
		s.ping(a)
	}
	s.remove(name)
}

// ofUplink is what a node's uplink has anew after a reboot.
var ofUplink = regexp.MustCompile(`\bfe80::\S+ dev eth0 |: eth0 +inet6 fe80:|: eth0@`)

// inventory is what a node has for its pods: allocations, links, routes, rules, neighbours.
func inventory(s *space, n *cluster.Node) []string {
	s.Helper()
	state, err := n.State(s.Context())
	must(s, err)
	root, err := n.Root()
	must(s, err)
	allocations, err := lab.Allocations(filepath.Join(root, "run/flock"))
	must(s, err)
	return slices.DeleteFunc(append(allocations, state...), ofUplink.MatchString)
}

// wantInventory wants the node to have what it had, before long: a pod is gone from the API server before all of it is
// gone from the node.
func (s *space) wantInventory(n *cluster.Node, before []string) {
	s.Helper()
	s.within(endLimit, n.Name+" has nothing of pods that are gone", func() error {
		if diff := lab.Difference(before, inventory(s, n)); len(diff) > 0 {
			return fmt.Errorf("it has %q", diff)
		}
		return nil
	})
}
