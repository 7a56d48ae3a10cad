// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/tor"
)

// TestDualStack: the pools reach the router and single addresses as they come and go, and the node has its default routes.
// An IPv4 route that goes with its link goes without a word of the kernel.
func TestDualStack(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	s.start(s.config(tor6(1), tor4(1)), tor.DualStack)
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter)
	s.wantRoutes(s.node, default6, default4)
	for _, gone := range []string{"link set pod down", "link del pod"} {
		s.ip("link set pod up")
		s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 20")
		s.ip("-4 route add 192.0.2.7 dev pod table 7273 proto 73 metric 20")
		s.ip("-4 route add 192.0.2.8 dev pod table 7273 proto 99 metric 20") // nobody's
		s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter,
			"2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32", "192.0.2.7 via 10.0.1.2 dev node proto bird metric 32")
		start := time.Now()
		s.ip(gone)
		s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: it took the speaker %s", gone, took)
		}
	}
	s.ip("-6 route del blackhole 2001:db8:1::/64 table 7273")
	s.wantRoutes(s.routers[0].Netns, pool4AtRouter)
}

// TestNodeTakesItsRoutesBack: what others delete, or the kernel with a link, comes back.
func TestNodeTakesItsRoutesBack(t *testing.T) {
	s := newSite(t, 1)
	s.start(s.config(tor6(1), tor4(1)), tor.DualStack)
	s.wantRoutes(s.node, default6, default4)
	s.ip("-6 route del default")
	s.ip("-4 route del default")
	s.wantRoutes(s.node, default6, default4)
	s.ip("-6 route replace default via fd00:1::99 dev up1 proto bgp metric 32")
	s.wantRoutes(s.node, default6, default4)
	s.ip("link set up1 down")
	s.wantRoutes(s.node)
	s.ip("link set up1 up")
	s.ip("-6 addr replace fd00:1::2/64 dev up1 nodad")
	s.wantRoutes(s.node, default6, default4)
}

// TestForeignRouteStays: a route of somebody else's is not overwritten, and the speaker's follows when it has gone.
func TestForeignRouteStays(t *testing.T) {
	s := newSite(t, 1)
	const foreign6 = "default via fd00:1::77 dev up1 proto static metric 32"
	const foreign4 = "default via 10.0.1.77 dev up1 proto static metric 32"
	s.ip("-6 route add " + foreign6)
	s.ip("-4 route add " + foreign4)
	s.start(s.config(tor6(1), tor4(1)), tor.DualStack)
	s.wantEstablished(2)
	s.eventually("the speaker says what is in the way", func() error { return s.logged("another protocol's route") })
	s.wantRoutes(s.node, foreign6, foreign4)
	s.ip("-6 route del " + foreign6)
	s.ip("-4 route del " + foreign4)
	s.wantRoutes(s.node, default6, default4)
}

// TestReflectedAnycast: a router sends the node's own anycast address back, from another node. The local pod wins, here
// and in what the node announces; when it is gone the other node's takes over.
func TestReflectedAnycast(t *testing.T) {
	s := newSite(t, 2)
	s.announceSummaries()
	any1 := tor6(1)
	any1.ImportAccept = everything
	s.start(s.config(any1, tor6(2)), tor.IPv6+"protocol static { ipv6; route 2001:db8:f::7/128 unreachable; }", tor.IPv6)
	const reflected = "2001:db8:f::7 via fd00:1::1 dev up1 proto bgp metric 32"
	const defaults = "default proto bgp metric 32 nexthop via fd00:1::1 dev up1 weight 1 nexthop via fd00:2::1 dev up2 weight 1"
	const announced = "2001:db8:f::7 via fd00:2::2 dev node proto bird metric 32"
	const atRouter2 = "2001:db8:1::/64 via fd00:2::2 dev node proto bird metric 32"
	s.wantRoutes(s.node, defaults, reflected)
	s.wantRoutes(s.routers[1].Netns, atRouter2)
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 20")
	s.ip("-6 route add 2001:db8:f::7 dev pod1 table 7273 proto 73 metric 21")
	s.wantRoutes(s.routers[1].Netns, atRouter2, announced)
	s.wantRoutes(s.node, defaults)
	s.ip("-6 route del 2001:db8:f::7 dev pod table 7273")
	s.wantRoutes(s.routers[1].Netns, atRouter2, announced)
	s.ip("-6 route del 2001:db8:f::7 dev pod1 table 7273")
	s.wantRoutes(s.routers[1].Netns, atRouter2)
	s.wantRoutes(s.node, defaults, reflected)
}

// TestECMP: both routers are used, and one when the other has gone.
func TestECMP(t *testing.T) {
	s := newSite(t, 2)
	p1, p2 := tor4(1), tor4(2)
	p1.GracefulRestart, p2.GracefulRestart = false, false
	s.start(s.config(tor6(1), p1, tor6(2), p2), tor.DualStack, tor.DualStack)
	hop := func(one, two string) string {
		return "default proto bgp metric 32 nexthop via " + one + " dev up1 weight 1 nexthop via " + two + " dev up2 weight 1"
	}
	s.wantRoutes(s.node, hop("fd00:1::1", "fd00:2::1"), hop("10.0.1.1", "10.0.2.1"))
	_, err := s.routers[1].Bird.Ask(t.Context(), "disable node4")
	must(t, err)
	s.wantRoutes(s.node, hop("fd00:1::1", "fd00:2::1"), default4)
	_, err = s.routers[1].Bird.Ask(t.Context(), "disable node6")
	must(t, err)
	s.wantRoutes(s.node, default6, default4)
	s.routers[1].Bird.Ask(t.Context(), "enable all")
	s.wantRoutes(s.node, hop("fd00:1::1", "fd00:2::1"), hop("10.0.1.1", "10.0.2.1"))
}

// TestImportFilter: of what a router sends, the node takes what it may, but nothing that covers its own links. Another
// filter takes effect without a new session.
func TestImportFilter(t *testing.T) {
	s := newSite(t, 1)
	peer := func(accept ...speaker.PrefixMatch) speaker.Config {
		p := tor6(1)
		p.ImportAccept = accept
		return s.config(p)
	}
	s.start(peer(speaker.PrefixMatch{Prefix: netip.MustParsePrefix("::/0")}), tor.IPv6+`
protocol static { ipv6;
	route fd00:1::/64 unreachable;		# the link itself
	route fd00::/16 unreachable;		# and around it
	route fd00:1::2/128 unreachable;	# the node's address
	route fd00:1::1/128 unreachable;	# the router's own
	route 2001:db8:a::/48 unreachable;
	route 2001:db8:b::/64 unreachable;
}`)
	s.wantRoutes(s.node, default6)
	since := s.status().Sessions[0].Since
	via := " via fd00:1::1 dev up1 proto bgp metric 32"
	s.configure(peer(everything...))
	s.wantRoutes(s.node, default6, "2001:db8:a::/48"+via, "2001:db8:b::/64"+via)
	s.configure(peer(speaker.PrefixMatch{Prefix: netip.MustParsePrefix("2001:db8::/32"), MaxLength: 48}))
	s.wantRoutes(s.node, "2001:db8:a::/48"+via)
	s.configure(peer())
	s.wantRoutes(s.node)
	c := peer(everything...)
	c.Own = append(c.Own, addr("2001:db8:a::99"))
	s.configure(c)
	s.wantRoutes(s.node, default6, "2001:db8:b::/64"+via)
	if is := s.status().Sessions[0]; is.Since != since || is.Families[0].Received != 2 {
		t.Errorf("the session was since %v, and is %+v", since, is)
	}
}

// TestMaxPrefixes: what exceeds the limit is ignored, and the session stays.
func TestMaxPrefixes(t *testing.T) {
	var flood strings.Builder
	for i := range 50 {
		fmt.Fprintf(&flood, "route 2001:db8:%x::/48 unreachable;\n", 0x100+i)
	}
	s := newSite(t, 1)
	p := tor6(1)
	p.ImportAccept, p.MaxPrefixes = everything, 10
	s.start(s.config(p), tor.IPv6+"protocol static { ipv6; "+flood.String()+"}")
	s.wantEstablished(1)
	taken := func(want int) {
		t.Helper()
		s.eventually(fmt.Sprintf("%d prefixes are taken", want), func() error {
			routes, err := tor.Routes(s.Context(), s.node, "main")
			if err == nil && len(routes) != want {
				err = fmt.Errorf("%d are", len(routes))
			}
			return err
		})
	}
	taken(10)
	is := s.status().Sessions[0]
	if is.State != speaker.Established || is.Families[0] != (speaker.Family{Name: "ipv6", Received: 10}) {
		t.Errorf("session %+v", is)
	}
	p.MaxPrefixes = 20
	s.configure(s.config(p))
	taken(20)
	if now := s.status().Sessions[0]; now.Since != is.Since {
		t.Errorf("the session was since %s, and is %+v", is.Since, now)
	}
}

// TestExportAccept: single addresses are announced where they may be alone, and no other prefix is.
func TestExportAccept(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	c := s.config(tor6(1), tor4(1))
	c.ExportAccept = prefixes("2001:db8:f::/48")
	for _, route := range []string{"2001:db8:f::7", "2001:db8:e::7", "2001:db8:f::/64", "::/0", "2001:db8:1::/65"} {
		s.ip("-6 route add " + route + " dev pod table 7273 proto 73 metric 16")
	}
	s.start(c, tor.DualStack)
	one := "2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32"
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter, one)
	status := s.status(prefixes("2001:db8:f::7/128", "2001:db8:e::7/128")...)
	want := "map[10.244.1.0/24:[10.0.1.1] 2001:db8:1::/64:[fd00:1::1] 2001:db8:f::7/128:[fd00:1::1]]"
	if got := fmt.Sprint(status.Sent); got != want {
		t.Errorf("sent were %s, not %s", got, want)
	}
	c.ExportAccept, c.Summaries = prefixes("2001:db8:e::/48"), prefixes("10.244.1.0/24")
	s.configure(c)
	s.wantRoutes(s.routers[0].Netns, pool4AtRouter, strings.Replace(one, ":f:", ":e:", 1))
}

// TestNoTransit: what one router announces, another is not told.
func TestNoTransit(t *testing.T) {
	s := newSite(t, 2)
	s.announceSummaries()
	p1, p2 := tor6(1), tor6(2)
	p1.ImportAccept, p2.ASN = everything, 64501
	s.start(s.config(p1, p2), tor.IPv6+"protocol static { ipv6; route 2001:db8:a::/48 unreachable; }",
		strings.Replace(tor.IPv6, "SESSION", "connect delay time 1; connect retry time 1; local as 64501;", 1))
	s.wantRoutes(s.node, "2001:db8:a::/48 via fd00:1::1 dev up1 proto bgp metric 32",
		"default proto bgp metric 32 nexthop via fd00:1::1 dev up1 weight 1 nexthop via fd00:2::1 dev up2 weight 1")
	s.wantRoutes(s.routers[1].Netns, "2001:db8:1::/64 via fd00:2::2 dev node proto bird metric 32")
}

// TestCableOut: with a link's carrier goes the way over it, and no other, long before the hold time has passed.
func TestCableOut(t *testing.T) {
	s := newSite(t, 2)
	s.start(s.config(tor6(1), tor4(1), tor6(2), tor4(2)), tor.DualStack, tor.DualStack)
	both6 := "default proto bgp metric 32 nexthop via fd00:1::1 dev up1 weight 1 nexthop via fd00:2::1 dev up2 weight 1"
	both4 := "default proto bgp metric 32 nexthop via 10.0.1.1 dev up1 weight 1 nexthop via 10.0.2.1 dev up2 weight 1"
	s.wantRoutes(s.node, both6, both4)
	start := time.Now()
	s.routers[1].ip("link set node down")
	s.wantRoutes(s.node, default6, default4)
	s.routers[0].ip("link set node down")
	s.wantRoutes(s.node)
	s.wantEstablished(0)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took the speaker %s", took)
	}
	for i, r := range s.routers {
		r.ip("link set node up")
		r.ip(fmt.Sprintf("-6 addr replace fd00:%d::1/64 dev node nodad", i+1))
	}
	s.wantRoutes(s.node, both6, both4)
}

// TestUnreachableNextHop: routes whose next hop is on none of the node's links are not installed, and the log says so.
func TestUnreachableNextHop(t *testing.T) {
	s := newSite(t, 1)
	s.start(s.config(tor6(1)), strings.Replace(tor.IPv6, "export all", "export filter { bgp_next_hop = fd00:9::1; accept; }", 1))
	s.eventually("the log tells of the next hop", func() error {
		return s.logged("next hop fd00:9::1 of what fd00:1::1 announces")
	})
	s.wantRoutes(s.node)
}
