// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"net/netip"
	"testing"

	"flock.fritzlab.net/flock/test/lab"
)

// TestPoolChange gives a node other pools while a pod runs: new pods are served from them, and the old
// pod keeps its addresses and stays reachable until it goes.
func TestPoolChange(t *testing.T) {
	t.Parallel()
	l := newRouted(t, lab.Options{Nodes: 2})
	node := l.Nodes[0]
	old := attach(t, node, "old", nil)
	far := attach(t, l.Nodes[1], "far", nil)

	node.Pool6, node.Pool4 = netip.MustParsePrefix("2001:db8:11::/64"), netip.MustParsePrefix("10.244.11.0/24")
	check(t, node.SetPools())
	check(t, node.SetNodeConfig())
	check(t, l.AwaitSummaries(t.Context()))

	fresh := attach(t, node, "fresh", nil)
	wantAddresses(t, fresh, []string{"2001:db8:11::/64", "10.244.11.0/24"})
	wantReaches(t, l.Router.Netns, fresh.Addresses()...)
	wantReaches(t, l.Router.Netns, old.Addresses()...)
	wantPings(t, []*lab.Netns{far.Netns, node.Netns, fresh.Netns}, old, fresh)
	detach(t, node, old, fresh)
	if left, err := lab.Allocations(node.StateDir()); err != nil || len(left) > 0 {
		t.Errorf("allocations %q are left (%v)", left, err)
	}
}
