// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/tor"
)

// TestReflectedAnycast: a router sends the node's own anycast address back, from another node. The local
// pod wins, here and in what the node announces; when it is gone the other node's takes over.
func TestReflectedAnycast(t *testing.T) { bySpeaker(t, testReflectedAnycast) }

func testReflectedAnycast(t *testing.T, kind string) {
	s := newSite(t, kind, 2)
	s.start(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]
  bgp:
    localASN: 64512
    peers:
    - {name: tor1, address: "fd00:1::1", peerASN: 64500, importAccept: [{cidr: "::/0", maxLength: 128}]}
    - {name: tor2, address: "fd00:2::1", peerASN: 64500}
`, tor.IPv6+"protocol static { ipv6; route 2001:db8:f::7/128 unreachable; }", tor.IPv6)
	const reflected = "2001:db8:f::7 via fd00:1::1 dev up1 proto bird metric 32"
	const defaults = "default proto bird metric 32 nexthop via fd00:1::1 dev up1 weight 1 nexthop via fd00:2::1 dev up2 weight 1"
	const announced = "2001:db8:f::7 via fd00:2::2 dev node proto bird metric 32"
	const atRouter2 = "2001:db8:1::/64 via fd00:2::2 dev node proto bird metric 32"
	s.wantRoutes(s.node, "main", pool6Main, defaults, reflected)
	s.wantRoutes(s.routers[1].Netns, "main", atRouter2)
	// The metrics of two pods that share the address, as flock-bird chooses them.
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 20")
	s.ip("-6 route add 2001:db8:f::7 dev pod1 table 7273 proto 73 metric 21")
	s.ip("-6 route add 2001:db8:f::7 dev pod proto 72 metric 16")
	s.wantRoutes(s.routers[1].Netns, "main", atRouter2, announced)
	if out := s.ip("-6 route get 2001:db8:f::7"); !strings.Contains(out, "dev pod ") {
		t.Errorf("the node itself reaches it by %s", out)
	}
	s.ip("-6 route del 2001:db8:f::7 dev pod table 7273")
	s.wantRoutes(s.routers[1].Netns, "main", atRouter2, announced)
	s.ip("-6 route del 2001:db8:f::7 dev pod1 table 7273")
	s.wantRoutes(s.routers[1].Netns, "main", atRouter2)
	s.ip("-6 route del 2001:db8:f::7 dev pod proto 72")
	s.wantRoutes(s.node, "main", pool6Main, defaults, reflected)
}

// TestImportFilter: of what a router sends, the node takes what importAccept allows, but nothing that
// covers its own links.
func TestImportFilter(t *testing.T) { bySpeaker(t, testImportFilter) }

func testImportFilter(t *testing.T, kind string) {
	const spec = `
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]
  bgp:
    localASN: 64512
    peers: [{name: tor, address: "fd00:1::1", peerASN: 64500, maxPrefixes: 3%s}]
`
	s := newSite(t, kind, 1)
	s.start(fmt.Sprintf(spec, ""), tor.IPv6+`
protocol static { ipv6;
	route fd00:1::/64 unreachable;		# the link itself
	route fd00::/16 unreachable;		# and around it
	route fd00:1::2/128 unreachable;	# the node's address
	route fd00:1::1/128 unreachable;	# the router's own
	route 2001:db8:a::/48 unreachable;
	route 2001:db8:b::/64 unreachable;
}`)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	via := " via fd00:1::1 dev up1 proto bird metric 32"
	s.configure(fmt.Sprintf(spec, `, importAccept: [{cidr: "::/0", maxLength: 128}]`))
	s.wantRoutes(s.node, "main", default6, pool6Main, "2001:db8:a::/48"+via, "2001:db8:b::/64"+via)
	s.configure(fmt.Sprintf(spec, `, importAccept: [{cidr: "2001:db8::/32", maxLength: 48}]`))
	s.wantRoutes(s.node, "main", pool6Main, "2001:db8:a::/48"+via)
	s.configure(fmt.Sprintf(spec, `, importAccept: []`))
	s.wantRoutes(s.node, "main", pool6Main)
	// Another address makes another link, and BIRD is told.
	s.configure(fmt.Sprintf(spec, `, importAccept: [{cidr: "::/0", maxLength: 128}]`))
	s.ip("-6 addr add 2001:db8:a::99/128 dev pod")
	s.wantRoutes(s.node, "main", default6, pool6Main, "2001:db8:b::/64"+via)
}

// TestMaxPrefixes: what exceeds the limit is ignored, and the session stays.
func TestMaxPrefixes(t *testing.T) { bySpeaker(t, testMaxPrefixes) }

func testMaxPrefixes(t *testing.T, kind string) {
	var flood strings.Builder
	for i := range 50 {
		fmt.Fprintf(&flood, "route 2001:db8:%x::/48 unreachable;\n", 0x100+i)
	}
	s := newSite(t, kind, 1)
	s.start(`
  bgp:
    localASN: 64512
    peers: [{name: tor, address: "fd00:1::1", peerASN: 64500, maxPrefixes: 10, importAccept: [{cidr: "::/0", maxLength: 128}]}]
`, tor.IPv6+"protocol static { ipv6; "+flood.String()+"}")
	s.wantSessions(1)
	s.eventually("ten prefixes are taken", func() error {
		routes, err := tor.Routes(s.Context(), s.node, "main")
		if err == nil && len(routes) != 10 {
			err = fmt.Errorf("%d are", len(routes))
		}
		return err
	})
	if !s.established("tor") {
		t.Errorf("session %+v", s.session("tor"))
	}
}

// TestExportAccept: single addresses are announced inside exportAccept alone, and no other prefix is.
func TestExportAccept(t *testing.T) { bySpeaker(t, testExportAccept) }

func testExportAccept(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	s.start(strings.Replace(spec6, "peers:", "exportAccept: [\"2001:db8:f::/48\"]\n    peers:", 1), tor.IPv6)
	for _, route := range []string{"2001:db8:f::7", "2001:db8:e::7", "2001:db8:f::/64", "::/0", "2001:db8:1::/65"} {
		s.ip("-6 route add " + route + " dev pod table 7273 proto 73 metric 16")
	}
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter, "2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32")
}

// TestIPv4OverIPv6: one session carries both families, and IPv4 goes by IPv6 next hops.
func TestIPv4OverIPv6(t *testing.T) { bySpeaker(t, testIPv4OverIPv6) }

func testIPv4OverIPv6(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	s.start(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}, {name: default4, cidr: 10.244.1.0/24}]
  bgp:
    localASN: 64512
    peers: [{name: tor, address: "fd00:1::1", peerASN: 64500, families: [ipv4, ipv6]}]
`, strings.Replace(tor.IPv6, "ipv6 { import all;", "ipv4 { import all; export all; extended next hop on; }; ipv6 { import all;", 1)+
		"protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }")
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter, "10.244.1.0/24 via inet6 fd00:1::2 dev node proto bird metric 32")
	s.wantRoutes(s.node, "main", default6, pool6Main,
		"default via inet6 fd00:1::1 dev up1 proto bird metric 32", "blackhole 10.244.1.0/24 proto 72 metric 16")
}

// TestUnnumbered: the node knows the interfaces and nothing of the routers, whose BIRD, unlike others,
// has to be told the node's address.
func TestUnnumbered(t *testing.T) { bySpeaker(t, testUnnumbered) }

func testUnnumbered(t *testing.T, kind string) {
	s := newSite(t, kind, 2)
	s.configure(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}, {name: default4, cidr: 10.244.1.0/24}]
  bgp:
    localASN: 64512
    peers:
    - {name: tor-1, interface: up1, peerASN: 64500, bfd: graceful}
    - {name: tor-2, interface: up2, peerASN: 64500}
`)
	s.startBirdd()
	s.startSpeaker()
	advertised := s.routers[0].captureAdvertisement()
	for i, r := range s.routers {
		r.start(`
protocol bfd {}
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }
protocol bgp node { SESSION neighbor ` + linkLocal(s, fmt.Sprintf("up%d", i+1)) + ` as 64512; interface "node"; bfd on;
	ipv6 { import all; export all; };
	ipv4 { import all; export all; extended next hop on; };
}`)
	}
	s.wantSessions(2)
	for i, r := range s.routers {
		via := linkLocal(s, fmt.Sprintf("up%d", i+1)) + " dev node proto bird metric 32"
		s.wantRoutes(r.Netns, "main", "2001:db8:1::/64 via "+via, "10.244.1.0/24 via inet6 "+via)
	}
	hops := func(family string) string {
		hop := "nexthop via " + family
		return "default proto bird metric 32 " + hop + linkLocalOf(s.routers[0].ip("-6 addr show dev node")) + " dev up1 weight 1 " +
			hop + linkLocalOf(s.routers[1].ip("-6 addr show dev node")) + " dev up2 weight 1"
	}
	s.wantRoutes(s.node, "main", pool6Main, "blackhole 10.244.1.0/24 proto 72 metric 16", hops(""), hops("inet6 "))
	if source := advertised(); source != linkLocal(s, "up1") {
		t.Errorf("the node advertised itself on the link as %q, want %s", source, linkLocal(s, "up1"))
	}
	report := s.status()
	if len(report.Sessions) != 2 || report.Sessions[0].Peer != "tor-1" || kind == onBIRD && report.Sessions[0].Name != "dyn_tor_1_1" || report.Sessions[1].Peer != "tor-2" {
		t.Errorf("status: %+v", report.Sessions)
	}
}

func linkLocal(s *site, link string) string { return linkLocalOf(s.ip("-6 addr show dev " + link)) }

// linkLocalOf returns the link-local address in the output of "ip -6 addr".
func linkLocalOf(out string) string {
	_, rest, _ := strings.Cut(out, "inet6 fe80")
	addr, _, _ := strings.Cut("fe80"+rest, "/")
	return addr
}

// TestMultihop: the router is behind another, which the node reaches by a route of its own.
func TestMultihop(t *testing.T) { bySpeaker(t, testMultihop) }

func testMultihop(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	r := s.routers[0]
	r.ip("link add lo1 type veth peer name lo2")
	r.ip("link set lo1 up")
	r.ip("-6 addr add 2001:db8:ffff::1/128 dev lo1 nodad")
	s.ip("-6 route add 2001:db8:ffff::/64 via fd00:1::1 dev up1 proto static metric 100")
	s.start(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]
  bgp:
    localASN: 64512
    peers: [{name: far, address: "2001:db8:ffff::1", localAddress: "fd00:1::2", peerASN: 64500, multihop: 3, bfd: graceful}]
`, `
protocol bfd {}
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol direct { ipv6; }
protocol bgp node { SESSION local 2001:db8:ffff::1 as 64500; neighbor fd00:1::2 as 64512; multihop 3; bfd on;
	ipv6 { import all; export where source = RTS_STATIC; next hop self; };
}`)
	const static = "2001:db8:ffff::/64 via fd00:1::1 dev up1 proto static metric 100"
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantRoutes(s.node, "main", default6, pool6Main, static)
	// Without a way to the next hop there is no default route, rather than an unreachable one.
	s.ip("-6 route del 2001:db8:ffff::/64")
	s.wantRoutes(s.node, "main", pool6Main)
	s.ip("-6 route add " + strings.TrimSuffix(static, " metric 100") + " metric 100")
	s.wantRoutes(s.node, "main", default6, pool6Main, static)
}

// TestAttributes: what an internal peer is sent.
func TestAttributes(t *testing.T) { bySpeaker(t, testAttributes) }

func testAttributes(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	s.start(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]
  bgp:
    localASN: 64500
    peers: [{name: tor, address: "fd00:1::1", peerASN: 64500, localPref: 333, med: 0, communities: ["64500:7", "64500:1:2"], holdTime: 9s}]
`, strings.Replace(tor.IPv6, "as 64512", "as 64500; direct", 1))
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	out, err := s.routers[0].Bird.Ask(s.Context(), "show route all 2001:db8:1::/64")
	must(t, err)
	for _, want := range []string{"BGP.local_pref: 333", "BGP.med: 0", "BGP.community: (64500,7)", "BGP.large_community: (64500, 1, 2)", "BGP.next_hop: fd00:1::2"} {
		if !strings.Contains(out, want) {
			t.Errorf("the router has no %q in\n%s", want, out)
		}
	}
}

// TestBFDImmediate: the path fails without the link going down, and the routes go long before the hold
// time.
func TestBFDImmediate(t *testing.T) {
	s := newSite(t, onBIRD, 1)
	s.start(strings.Replace(spec6, "peerASN: 64500}", "peerASN: 64500, bfd: immediate}", 1),
		"protocol bfd {}\n"+strings.Replace(tor.IPv6, "ipv6 { import", "bfd on; ipv6 { import", 1))
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.eventually("BFD is up", func() error {
		out, err := s.bird.Ask(s.Context(), "show bfd sessions")
		if err == nil && !strings.Contains(out, "Up") {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	must(t, unix.Kill(s.routers[0].Bird.PID(), unix.SIGSTOP))
	s.wantRoutes(s.node, "main", pool6Main)
}
