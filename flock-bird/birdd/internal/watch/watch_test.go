// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

func newNetns(t *testing.T) *lab.Netns {
	t.Helper()
	n, err := lab.NewNetns(lab.UniqueName("flt-watch"))
	must(t, err)
	t.Cleanup(func() { n.Delete() })
	ip(t, n, "link add eth0 up type veth peer name pod")
	ip(t, n, "link set pod up group 7273")
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, n *lab.Netns, args string) {
	t.Helper()
	_, err := n.Run(t.Context(), "ip", strings.Fields(args)...)
	must(t, err)
}

// TestWatcher does one thing after the other; each is followed by one that is known to be told of, so
// that what was not told before will not be.
func TestWatcher(t *testing.T) {
	n := newNetns(t)
	for _, setup := range []string{
		"-6 route add blackhole 2001:db8:1::/64 proto 72", "route add unreachable 10.1.0.0/24 proto 72",
		"-6 route add blackhole 2001:db8:1::/64 table 7273 proto 73", "route add blackhole 10.1.0.0/24 table 7273 proto 73",
		"-6 route add blackhole 2001:db8:2::/64 proto 4", "-6 route add 2001:db8:1::7 dev pod proto 72",
		"route add blackhole 10.255.0.0/24 proto 72", "addr add 192.0.2.9/24 dev eth0",
	} {
		ip(t, n, setup)
	}
	told := make(chan string, 100)
	var w *Watcher
	must(t, n.Do(func() (err error) { w, err = Open(); return err }))
	w.Summary, w.Address = func() { told <- "summary" }, func() { told <- "address" }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	for _, test := range []struct{ do, want string }{
		{"-6 route del 2001:db8:1::/64 proto 72", "summary"},
		{"route del 10.1.0.0/24 proto 72", "summary"},
		{"-6 route del 2001:db8:1::/64 table 7273", "summary"},
		{"route del 10.1.0.0/24 table 7273", "summary"},
		{"-6 route del 2001:db8:2::/64", ""},
		{"-6 route del 2001:db8:1::7", ""},
		{"-6 addr add fe80::9/64 dev pod", ""},
		{"link add more up type veth peer name pod2", ""},
		{"route del blackhole 10.255.0.0/24 proto 72", "summary"},
		{"addr add 10.9.0.1/24 dev eth0", "address"},
		{"addr del 10.9.0.1/24 dev eth0", "address"},
		{"-6 addr add 2001:db8:9::1/64 dev eth0 nodad", "address"},
	} {
		ip(t, n, test.do)
		if test.want == "" {
			continue
		}
		select {
		case got := <-told:
			if got != test.want {
				t.Errorf("after ip %s, or one before, it told of %s, want %s", test.do, got, test.want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("ip %s: not told", test.do)
		}
	}
	cancel()
	must(t, <-ended)
}

func TestAddresses(t *testing.T) {
	n := newNetns(t)
	for _, add := range []string{"addr add 192.0.2.9/24 dev eth0", "-6 addr add 2001:db8:9::1/64 dev eth0 nodad", "addr add 10.1.0.1/32 dev pod"} {
		ip(t, n, add)
	}
	var handle *netlink.Handle
	must(t, n.Do(func() (err error) { handle, err = rtnl.Open(); return err }))
	defer handle.Close()
	own, err := Addresses(handle)
	must(t, err)
	for addr, want := range map[string]bool{"192.0.2.9": true, "2001:db8:9::1": true, "10.1.0.1": false} {
		if got := slices.Contains(own, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s among %v: %v, want %v", addr, own, got, want)
		}
	}
}
