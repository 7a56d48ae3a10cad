// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"testing"

	"flock.fritzlab.net/flock/test/apiserver"
)

// TestPodGoneBeforeDel removes the pods' objects first, as "kubectl delete --force" does: each keeps its addresses
// while its sandbox is there, and DEL takes everything back.
func TestPodGoneBeforeDel(t *testing.T) {
	t.Parallel()
	s := newSite(t, apiserver.Start(t), options{})
	before := s.state()
	web, dns := s.attach("web", nil), s.attach("dns", annotations{"anycast": anycast6 + "," + anycast4})
	s.api.SetReady(t, dns.object, true)
	s.awaitAnnounced(true, anycast6, anycast4)

	s.api.RemovePod(t, web.object)
	s.api.RemovePod(t, dns.object)
	s.awaitAnnounced(false, anycast6, anycast4)
	s.awaitComparisons(3)
	s.wantReachable(web)
	for _, p := range []*pod{web, dns} {
		if owned, err := s.owned(p); err != nil || !owned {
			t.Errorf("the addresses of %s are owned: %t (%v) while its sandbox is there", p.object.Name, owned, err)
		}
		check(t, s.del(p))
	}
	s.wantState(before)
}

// TestSameNameNewUID replaces a pod by one of its name while the sandbox of the first is still there, as a StatefulSet
// does after a forced deletion. What is said of the one is never taken for the other's.
func TestSameNameNewUID(t *testing.T) {
	t.Parallel()
	s := newSite(t, apiserver.Start(t), options{})
	const first6, second6 = "2001:db8:a::1", "2001:db8:a::2"
	first := s.attach("web-0", annotations{"anycast": first6})
	s.api.SetReady(t, first.object, true)
	s.awaitAnnounced(true, first6)

	s.api.RemovePod(t, first.object)
	second := s.newPod("web-0", annotations{"anycast": second6, "ipv4": "false"})
	check(t, s.add(second))
	if len(second.Addresses()) != 2 || second.Address4().IsValid() {
		t.Errorf("the second pod has %v, want one IPv6 address and %s", second.Addresses(), second6)
	}
	s.awaitAnnounced(false, first6)
	s.api.SetReady(t, second.object, true)
	s.awaitAnnounced(true, second6)
	s.awaitAnnounced(false, first6)

	check(t, s.del(first))
	s.awaitComparisons(3)
	s.awaitAnnounced(true, second6)
	s.wantReachable(second)
}
