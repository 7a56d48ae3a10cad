// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

// newNetns returns a namespace with the links eth0 (fd00::2, 10.0.0.2), eth1 (fd00:1::2, 10.0.1.2) and pod.
func newNetns(t *testing.T) *lab.Netns {
	t.Helper()
	n, err := lab.NewNetns(lab.UniqueName("flt-gobgp-kernel"))
	must(t, err)
	t.Cleanup(func() { n.Delete() })
	for _, command := range []string{
		"link add eth0 up type veth peer name eth0p", "link set eth0p up", "link add eth1 up type veth peer name eth1p", "link set eth1p up",
		"link add pod up type veth peer name podp", "link set podp up",
		"addr add fd00::2/64 dev eth0 nodad", "addr add 10.0.0.2/24 dev eth0", "addr add fd00:1::2/64 dev eth1 nodad", "addr add 10.0.1.2/24 dev eth1",
	} {
		ip(t, n, command)
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, n *lab.Netns, args string) string {
	t.Helper()
	out, err := n.Run(t.Context(), "ip", strings.Fields(args)...)
	must(t, err)
	return out
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func openFIB(t *testing.T, n *lab.Netns) *FIB {
	t.Helper()
	var f *FIB
	must(t, n.Do(func() (err error) { f, err = OpenFIB(); return err }))
	t.Cleanup(f.Close)
	return f
}

// byBGP returns the speaker's routes as ip(8) shows them, one a line.
func byBGP(t *testing.T, n *lab.Netns) string {
	t.Helper()
	var routes []string
	for _, family := range []string{"-6", "-4"} {
		out := strings.ReplaceAll(ip(t, n, family+" route show proto bgp"), "\n\tnexthop", " nexthop")
		for line := range strings.Lines(out) {
			routes = append(routes, strings.Join(strings.Fields(strings.Replace(line, "pref medium", "", 1)), " "))
		}
	}
	slices.Sort(routes)
	return strings.Join(routes, "\n")
}

func TestApply(t *testing.T) {
	n := newNetns(t)
	f := openFIB(t, n)
	ways, err := f.Ways(false)
	must(t, err)
	hop := func(gateway string) Hop {
		h, ok := ways.Direct(addr(gateway), "")
		if !ok {
			t.Fatalf("no way to %s", gateway)
		}
		return h
	}
	a6, b6, a4, b4 := hop("fd00::1"), hop("fd00:1::1"), hop("10.0.0.1"), hop("10.0.1.1")
	for _, step := range []struct {
		name string
		want map[string][]Hop
		show string
	}{
		{"one hop each", map[string][]Hop{"::/0": {a6}, "0.0.0.0/0": {a4}, "2001:db8::/32": {a6}},
			"2001:db8::/32 via fd00::1 dev eth0 metric 32\ndefault via 10.0.0.1 dev eth0 metric 32\ndefault via fd00::1 dev eth0 metric 32"},
		{"two", map[string][]Hop{"::/0": {b6, a6, a6}, "0.0.0.0/0": {a4, b4}},
			"default metric 32 nexthop via 10.0.0.1 dev eth0 weight 1 nexthop via 10.0.1.1 dev eth1 weight 1\n" +
				"default metric 32 nexthop via fd00::1 dev eth0 weight 1 nexthop via fd00:1::1 dev eth1 weight 1"},
		{"IPv4 by IPv6", map[string][]Hop{"0.0.0.0/0": {a6, b6}, "10.9.0.0/16": {b6}},
			"10.9.0.0/16 via inet6 fd00:1::1 dev eth1 metric 32\n" +
				"default metric 32 nexthop via inet6 fd00::1 dev eth0 weight 1 nexthop via inet6 fd00:1::1 dev eth1 weight 1"},
		{"both again", map[string][]Hop{"::/0": {a6, b6}}, "default metric 32 nexthop via fd00::1 dev eth0 weight 1 nexthop via fd00:1::1 dev eth1 weight 1"},
		{"the other", map[string][]Hop{"::/0": {b6}}, "default via fd00:1::1 dev eth1 metric 32"},
		{"none", nil, ""},
	} {
		want := map[netip.Prefix][]Hop{}
		for dst, hops := range step.want {
			want[netip.MustParsePrefix(dst)] = Sorted(hops)
		}
		for range 2 {
			if err := f.Apply(want); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
			if got := byBGP(t, n); got != step.show {
				t.Errorf("%s: the kernel has\n%s\nnot\n%s", step.name, got, step.show)
			}
			installed, err := f.Installed()
			if err != nil || !maps.EqualFunc(installed, want, slices.Equal) {
				t.Errorf("%s: installed %v, %v", step.name, installed, err)
			}
		}
	}
}

// TestApplyLeavesOthers: only the speaker's own routes are replaced and removed, and one that is refused keeps no other away.
func TestApplyLeavesOthers(t *testing.T) {
	n := newNetns(t)
	f := openFIB(t, n)
	ip(t, n, "-6 route add default via fd00::9 dev eth0 proto static metric 32")
	ip(t, n, "-4 route add default via 10.0.0.9 dev eth0 proto static metric 32")
	ip(t, n, "-6 route add 2001:db8:1::/48 via fd00::9 dev eth0 proto bgp metric 33")
	before := ip(t, n, "-6 route show") + ip(t, n, "-4 route show")
	hop6, hop4 := Hop{addr("fd00::1"), 2}, Hop{addr("10.0.0.1"), 2}
	for _, link := range strings.Split(ip(t, n, "-o link show eth0"), ":")[:1] {
		fmt.Sscan(link, &hop6.Link)
		hop4.Link = hop6.Link
	}
	err := f.Apply(map[netip.Prefix][]Hop{
		netip.MustParsePrefix("::/0"): {hop6}, netip.MustParsePrefix("0.0.0.0/0"): {hop4}, netip.MustParsePrefix("2001:db8::/32"): {hop6}})
	if err == nil || strings.Count(err.Error(), "another protocol's route") != 2 {
		t.Errorf("Apply = %v", err)
	}
	if got := byBGP(t, n); !strings.Contains(got, "2001:db8::/32") || strings.Contains(got, "default") {
		t.Errorf("the kernel has\n%s", got)
	}
	must(t, f.Apply(nil))
	if after := ip(t, n, "-6 route show") + ip(t, n, "-4 route show"); after != before {
		t.Errorf("the routes were\n%s\nand are\n%s", before, after)
	}
}

func TestWays(t *testing.T) {
	n := newNetns(t)
	f := openFIB(t, n)
	for _, route := range []string{
		"-6 route add 2001:db8::/32 via fd00::1 dev eth0 metric 100", "-6 route add 2001:db8::/32 via fd00:1::1 dev eth1 metric 50",
		"addr add 169.254.77.2/30 dev eth1", "addr add fd00:2::2/64 dev eth0 nodad", "addr add fd00:2::3/64 dev eth1 nodad",
		"-6 route add 2001:db8:1::/48 dev pod", "-6 route add unreachable 2001:db8:2::/48",
		"-6 route add 2001:db8:9::/48 via fd00::1 dev eth0 proto bgp metric 32", "-6 route add 2001:db9::7 dev pod proto 72",
	} {
		ip(t, n, route)
	}
	w, err := f.Ways(true)
	must(t, err)
	for _, test := range []struct{ to, link, direct, far string }{
		{"fd00::1", "", "fd00::1 eth0", "fd00::1 eth0"},
		{"fd00::1", "eth1", "", "fd00::1 eth0"},
		{"fd00:2::1", "eth0", "fd00:2::1 eth0", "fd00:2::1 eth0"}, // both links have the prefix
		{"fd00:2::1", "eth1", "fd00:2::1 eth1", "fd00:2::1 eth0"},
		{"fd00:2::1", "pod", "", "fd00:2::1 eth0"},
		{"fe80::1", "eth1", "fe80::1 eth1", ""},
		{"fe80::1", "eth9", "", ""},
		{"10.0.1.1", "", "10.0.1.1 eth1", "10.0.1.1 eth1"},
		{"169.254.77.1", "", "169.254.77.1 eth1", "169.254.77.1 eth1"},
		{"169.254.77.1", "eth0", "", "169.254.77.1 eth1"},
		{"2001:db8::1", "", "", "fd00:1::1 eth1"},
		{"2001:db8:1::1", "", "", "2001:db8:1::1 pod"},
		{"2001:db8:9::1", "", "", "fd00:1::1 eth1"},
		{"2001:db9::7", "", "", ""},
		{"192.0.2.1", "", "", ""},
	} {
		show := func(h Hop, ok bool) string {
			for name, index := range w.links {
				if ok && index == h.Link {
					return h.Gateway.String() + " " + name
				}
			}
			return ""
		}
		if got := show(w.Direct(addr(test.to), test.link)); got != test.direct {
			t.Errorf("Direct(%s, %s) = %s, want %s", test.to, test.link, got, test.direct)
		}
		if got := show(w.Far(addr(test.to))); got != test.far {
			t.Errorf("Far(%s) = %s, want %s", test.to, got, test.far)
		}
	}
}

// TestWaysWithoutCarrier: a link whose cable is out leads nowhere, and another one with the same prefix is found.
func TestWaysWithoutCarrier(t *testing.T) {
	n := newNetns(t)
	f := openFIB(t, n)
	ip(t, n, "-6 route add 2001:db8::/32 via fd00::1 dev eth0 metric 50")
	ip(t, n, "-6 route add 2001:db8::/32 nexthop via fd00::1 dev eth0 nexthop via fd00:1::1 dev eth1")
	ip(t, n, "addr add fd00::3/64 dev eth1 nodad")
	ip(t, n, "link set eth0p down")
	w, err := f.Ways(true)
	must(t, err)
	eth1, up := w.links["eth1"]
	if _, down := w.links["eth0"]; !up || down {
		t.Errorf("the links are %v", w.links)
	}
	if _, ok := w.Direct(addr("10.0.0.1"), ""); ok {
		t.Error("10.0.0.1 is reached over a link without carrier")
	}
	for router, cut := range map[string]bool{"10.0.0.1": true, "fd00::1": false, "10.0.1.1": false, "10.9.9.9": false} {
		if w.Cut(addr(router), "") != cut {
			t.Errorf("Cut(%s) = %t", router, !cut)
		}
	}
	if !w.Cut(addr("fe80::1"), "eth0") || w.Cut(addr("fe80::1"), "eth1") {
		t.Error("a link-local address is not cut off with its link")
	}
	if hop, ok := w.Direct(addr("fd00::1"), ""); !ok || hop.Link != eth1 {
		t.Errorf("fd00::1 is on link %d, %t, want %d", hop.Link, ok, eth1)
	}
	if hop, ok := w.Far(addr("2001:db8::1")); !ok || hop != (Hop{addr("fd00:1::1"), eth1}) {
		t.Errorf("2001:db8::1 is behind %v, %t", hop, ok)
	}
}

// follow follows the kernel. By the channel comes what it tells of the announcement table, its neighbour, and links that go.
func follow(t *testing.T, n *lab.Netns) (*Announced, <-chan []syscall.NetlinkMessage) {
	t.Helper()
	var w *Watcher
	var conn *rtnl.Conn
	must(t, n.Do(func() (err error) { conn, err = rtnl.Dial(); return err }))
	must(t, n.Do(func() (err error) { w, err = Watch(); return err }))
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan []syscall.NetlinkMessage, 100), make(chan error)
	go func() {
		ended <- w.Run(ctx, func(messages []syscall.NetlinkMessage) {
			for _, m := range messages {
				r, err := rtnl.ParseRoute(m.Data)
				isRoute := m.Header.Type == unix.RTM_NEWROUTE || m.Header.Type == unix.RTM_DELROUTE
				if isRoute && err == nil && r.Table >= rtnl.TableAnnounce || m.Header.Type == unix.RTM_DELLINK {
					told <- []syscall.NetlinkMessage{m}
				}
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
	return NewAnnounced(conn, rtnl.TableAnnounce), told
}

// next returns what the next message means.
func (a *Announced) next(t *testing.T, told <-chan []syscall.NetlinkMessage) News {
	t.Helper()
	select {
	case messages := <-told:
		return a.Take(messages)
	case <-time.After(5 * time.Second):
		t.Fatal("nothing is told")
		return News{}
	}
}

// TestAnnounced: the table is followed change by change.
func TestAnnounced(t *testing.T) {
	n := newNetns(t)
	a, told := follow(t, n)
	for _, step := range []struct{ do, want string }{
		{"-6 route add 2001:db8::7 dev pod table 7273 proto 73 metric 20", "[2001:db8::7/128]"},
		{"-6 route add 2001:db8::7 dev eth0 table 7273 proto 73 metric 21", "[]"},
		{"-6 route add 2001:db8::8 dev pod table 7273 proto 74 metric 20", "[]"},
		{"-6 route add 2001:db8::8 dev pod table 7274 proto 73 metric 20", "[]"},
		{"-6 route replace 2001:db8::7 dev eth1 table 7273 proto 73 metric 20", "[]"},
		{"-6 route del 2001:db8::7 table 7273 metric 20", "[]"},
		{"-6 route del 2001:db8::7 table 7273 metric 21", "[2001:db8::7/128]"},
		{"-4 route add blackhole 10.9.0.0/16 table 7273 proto 73", "[10.9.0.0/16]"},
	} {
		ip(t, n, step.do)
		if news := a.next(t, told); fmt.Sprint(news.Announced) != step.want || news.Unsure {
			t.Errorf("%s: %+v, want %s", step.do, news, step.want)
		}
	}
	if got := fmt.Sprint(a.Prefixes()); got != "[10.9.0.0/16]" {
		t.Errorf("the table holds %s", got)
	}
}

// TestAnnouncedUnsure: what may have gone unseen is found by reading the table.
func TestAnnouncedUnsure(t *testing.T) {
	n := newNetns(t)
	a, told := follow(t, n)
	ip(t, n, "-4 route add 10.8.0.1 dev pod table 7273 proto 73")
	a.next(t, told)
	ip(t, n, "link del pod")
	for !a.next(t, told).Unsure {
	}
	if changed, err := a.Read(); err != nil || fmt.Sprint(changed) != "[10.8.0.1/32]" || a.Has(changed[0]) {
		t.Errorf("read: %v, %v", changed, err)
	}
	if news := a.Take(nil); !news.Unsure || !news.Main {
		t.Errorf("after a loss: %+v", news)
	}
}
