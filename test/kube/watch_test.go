// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/netip"
	"testing"

	"flock.fritzlab.net/flock/test/apiserver"
)

// TestWatchExpired cuts the node off while pods come, go and change, and forgets the history before the node is back:
// its watches end with 410. Meanwhile nothing is withdrawn; afterwards everything is as the objects say.
func TestWatchExpired(t *testing.T) {
	t.Parallel()
	api := apiserver.New(t)
	s := newSite(t, api, options{})
	const kept6, lost6, won6 = "2001:db8:a::1", "2001:db8:a::2", "2001:db8:a::3"
	kept, lost := s.attach("kept", annotations{"anycast": kept6}), s.attach("lost", annotations{"anycast": lost6})
	won := s.attach("won", annotations{"anycast": won6})
	api.SetReady(t, kept.object, true)
	api.SetReady(t, lost.object, true)
	s.awaitAnnounced(true, kept6, lost6)
	flows := s.startFlows(netip.MustParseAddr(kept6))

	s.link.Cut()
	api.SetReady(t, lost.object, false)
	api.SetReady(t, won.object, true)
	late := s.newPod("late", annotations{"ipv4": "false"})
	api.Compact(t)
	s.awaitAnnounced(true, kept6, lost6)
	s.link.Mend()

	s.awaitAnnounced(false, lost6)
	s.awaitAnnounced(true, kept6, won6)
	check(t, s.retry(late))
	if late.Address4().IsValid() {
		t.Errorf("the pod that came meanwhile has %v, against its annotations", late.Addresses())
	}
	wantWhole(t, flows)
}
