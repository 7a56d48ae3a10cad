// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"net/netip"
	"testing"
)

// TestMixed has ptp attach the pods of a node, with addresses of flock's.
func TestMixed(t *testing.T) {
	s := newSpace(t, "mixed")
	n := site.Nodes[0]
	before := inventory(s, n)
	must(t, n.UseFlockIPAM())
	defer func() { must(t, site.ForgetPtp(t.Context())) }()
	s.run("plain", on(n))
	s.run("chosen", on(n), annotated("cidr4", "10.244.1.64/26"))
	s.run("other", on(site.Nodes[1]))
	pods := s.ready("plain", "chosen", "other")
	for _, pod := range pods[:2] {
		wantPools(t, pod, n)
		for _, a := range addresses(pod) {
			s.ping(a)
		}
		s.exec("other", append([]string{"get"}, urls(httpPort, addresses(pod)...)...)...)
	}
	if a := addresses(pods[1])[0]; !netip.MustParsePrefix("10.244.1.64/26").Contains(a) {
		t.Errorf("the pod that wants one of 10.244.1.64/26 has %s", a)
	}
	if out := s.exec("plain", "addresses"); out == "" {
		t.Error("the pod has no interface")
	} else {
		t.Logf("a pod of ptp's:\n%s", out)
	}
	s.remove("plain", "chosen", "other")
	s.wantInventory(n, before)
}
