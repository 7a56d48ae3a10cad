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

// TestLostNews has more happen than the socket's buffer holds: what may have been missed is told of, and the routes
// that came meanwhile are known.
func TestLostNews(t *testing.T) {
	n := newNetns(t)
	var w *Watcher
	must(t, n.Do(func() (err error) { w, err = Open(rtnl.TableAnnounce); return err }))
	must(t, w.socket.SetReceiveBufferSize(1, true))
	told := make(chan string, 100)
	w.Summary, w.Address, w.Death = func() { told <- "summary" }, func() { told <- "address" }, func() { told <- "death" }
	_, err := n.Run(t.Context(), "sh", "-c", "{ seq -f 'route add 10.1.0.%g dev eth0 table 7273' 250; echo route add 10.1.1.1 dev pod table 7273; } | ip -batch -")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	want := func(what string) {
		t.Helper()
		select {
		case got := <-told:
			if got != what {
				t.Errorf("it told of %s, want %s", got, what)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: not told", what)
		}
	}
	for _, what := range []string{"summary", "address", "death"} {
		want(what)
	}
	must(t, w.socket.SetReceiveBufferSize(receiveBuffer, true))
	ip(t, n, "addr add 10.9.0.1/32 dev lo") // by then the list is read
	want("address")
	ip(t, n, "link del pod")
	want("death")
	cancel()
	must(t, <-ended)
}

// step is a command of ip(8) and what it makes the watcher tell of.
type step struct{ do, want string }

// watchSteps does one thing after the other; each is followed by one that is known to be told of, so
// that what was not told before will not be.
func watchSteps(t *testing.T, n *lab.Netns, steps []step) {
	t.Helper()
	told := make(chan string, 100)
	var w *Watcher
	must(t, n.Do(func() (err error) { w, err = Open(rtnl.TableAnnounce); return err }))
	w.Summary, w.Address, w.Death = func() { told <- "summary" }, func() { told <- "address" }, func() { told <- "death" }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	for _, s := range steps {
		ip(t, n, s.do)
		if s.want == "" {
			continue
		}
		select {
		case got := <-told:
			if got != s.want {
				t.Errorf("after ip %s, or one before, it told of %s, want %s", s.do, got, s.want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("ip %s: not told", s.do)
		}
	}
	cancel()
	must(t, <-ended)
}

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
	watchSteps(t, n, []step{
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
	})
}

func TestDeath(t *testing.T) {
	n := newNetns(t)
	for _, setup := range []string{
		"link add v1 up type veth peer name p1", "link add v2 up type veth peer name p2",
		"link add v3 up type veth peer name p3", "link add v4 up type veth peer name p4", "link add br0 up type bridge",
		"route add 10.1.0.1 dev pod table 7273", "route add 10.1.0.2 dev v1 table 7273",
	} {
		ip(t, n, setup)
	}
	watchSteps(t, n, []step{
		{"link del pod", "death"},
		{"route del 10.1.0.2 table 7273", ""}, // as DEL does
		{"link del v1", ""},
		{"addr add 10.9.0.1/32 dev lo", "address"},
		{"route add 10.1.0.3 dev v2 table 7273", ""},
		{"route replace 10.1.0.3 dev v3 table 7273", ""},
		{"route add 10.1.0.4 dev v2 table 7274", ""},
		{"-6 route add 2001:db8::1 dev v2 table 7273", ""},
		{"link del v2", ""},
		{"addr add 10.9.0.2/32 dev lo", "address"},
		{"link set v3 master br0", ""},
		{"link set v3 nomaster", ""}, // told of as RTM_DELLINK, too
		{"addr add 10.9.0.3/32 dev lo", "address"},
		{"link del v3", "death"},
		{"route add 10.1.0.5 dev v4 table 7273 metric 16", ""},
		{"route add 10.1.0.5 dev br0 table 7273 metric 17", ""},
		{"link set v4 down", ""},
		{"link del v4", "death"},
		{"link del br0", "death"},
	})
}

func TestAddresses(t *testing.T) {
	n := newNetns(t)
	for _, add := range []string{"addr add 192.0.2.9/24 dev eth0", "-6 addr add 2001:db8:9::1/64 dev eth0 nodad", "addr add 10.1.0.1/32 dev pod", "addr add 192.0.2.1/32 dev lo"} {
		ip(t, n, add)
	}
	var handle *netlink.Handle
	must(t, n.Do(func() (err error) { handle, err = rtnl.Open(); return err }))
	defer handle.Close()
	own, err := Addresses(handle)
	must(t, err)
	for addr, want := range map[string]bool{"192.0.2.9": true, "2001:db8:9::1": true, "10.1.0.1": false, "192.0.2.1": false} {
		if got := slices.Contains(own, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s among %v: %v, want %v", addr, own, got, want)
		}
	}
}

func TestHasNeighbours(t *testing.T) {
	for _, test := range []struct {
		link netlink.Link
		want bool
	}{
		{&netlink.Device{}, true},
		{&netlink.Bridge{}, true},
		{&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Group: rtnl.LinkGroup}}, false},
		{&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "kube-ipvs0"}}, false},
	} {
		if got := hasNeighbours(test.link); got != test.want {
			t.Errorf("a %s link of group %d: %v, want %v", test.link.Type(), test.link.Attrs().Group, got, test.want)
		}
	}
}
