// SPDX-License-Identifier: Apache-2.0

package speakertest

import (
	"fmt"
	"net/netip"
	"strings"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/tor"
)

// What router 1 has of the node in its main table.
const (
	atRouter6 = pool6 + " via fd00:1::2 dev node"
	atRouter4 = pool4 + " via 10.0.1.2 dev node"
	single    = single6 + " via fd00:1::2 dev node"
	// default6 is what the node has of router 1.
	default6 = "default via fd00:1::1 dev up1"
)

// announce puts an address into the announcement table.
func (w *world) announce(addr, link string) {
	w.Helper()
	w.ip("-6 route add " + addr + " dev " + link + " table " + table + " proto 73 metric 16")
}

func (w *world) withdraw(addr string) {
	w.Helper()
	w.ip("-6 route del " + addr + " table " + table)
}

func sessions(w *world) {
	w.routers[0].start(tor.DualStack)
	w.run(w.config(tor4(1), tor6(1)))
	w.wantEstablished("tor1-v4")
	w.wantEstablished("tor1-v6")
	w.wantLearned(w.routers[0].Netns, atRouter4, atRouter6)
	w.wantLearned(w.node, default6, "default via 10.0.1.1 dev up1")
}

func announces(w *world) {
	w.routers[0].start(tor.DualStack)
	w.run(w.config(tor4(1), tor6(1)))
	w.wantLearned(w.routers[0].Netns, atRouter4, atRouter6)
	w.announce(single6, "pod")
	w.ip("route add 198.51.100.7 dev pod table " + table + " proto 73 metric 16")
	w.wantLearned(w.routers[0].Netns, atRouter4, atRouter6, single, "198.51.100.7 via 10.0.1.2 dev node")
	w.withdraw(single6)
	w.ip("route del blackhole " + pool4 + " table " + table)
	w.wantLearned(w.routers[0].Netns, atRouter6, "198.51.100.7 via 10.0.1.2 dev node")
}

func deadLink(w *world) {
	w.routers[0].start(tor.IPv6)
	w.run(w.config(tor6(1)))
	w.announce(single6, "pod")
	w.announce("2001:db8:f::8", "up1")
	kept := "2001:db8:f::8 via fd00:1::2 dev node"
	w.wantLearned(w.routers[0].Netns, atRouter6, single, kept)
	w.ip("link del pod")
	w.wantLearned(w.routers[0].Netns, atRouter6, kept)
}

func exportList(w *world) {
	w.routers[0].start(tor.IPv6)
	c := w.config(tor6(1))
	c.ExportAccept = []netip.Prefix{netip.MustParsePrefix("2001:db8:f::/48")}
	for _, route := range []string{"2001:db8:e::7", "2001:db8:f::/64", "::/0", "2001:db8:1::/65", "2001:db8:1::7"} {
		w.announce(route, "pod")
	}
	w.run(c)
	w.announce(single6, "pod") // after all others
	w.wantLearned(w.routers[0].Netns, atRouter6, single)
}

func ownOnly(w *world) {
	w.routers[0].start(tor.IPv6 + "protocol static { ipv6; route 2001:db8:a::/48 unreachable; }")
	w.routers[1].start(tor.IPv6)
	first := with(tor6(1), func(p *speaker.Peer) { p.ImportAccept = accept("::/0", 48) })
	w.run(w.config(first, tor6(2)))
	w.wantLearned(w.node, "2001:db8:a::/48 via fd00:1::1 dev up1",
		"default nexthop via fd00:1::1 dev up1 nexthop via fd00:2::1 dev up2")
	w.announce(single6, "pod")
	w.wantLearned(w.routers[1].Netns, pool6+" via fd00:2::2 dev node", single6+" via fd00:2::2 dev node")
	if out := w.ip("-6 route show table " + table); strings.Contains(out, "2001:db8:a::") || strings.Contains(out, "default") {
		w.fail("the announcement table holds what BGP brought:\n%s", out)
	}
}

func nextHopSelf(w *world) {
	w.ip("-6 addr add fd00:1::5/64 dev up1 nodad")
	w.routers[0].start(strings.Replace(tor.IPv6, "fd00:N::2", "fd00:N::5", 1))
	w.run(w.config(with(tor6(1), func(p *speaker.Peer) { p.LocalAddress = netip.MustParseAddr("fd00:1::5") })))
	w.wantLearned(w.routers[0].Netns, pool6+" via fd00:1::5 dev node")
}

func attributes(w *world) {
	pref, med := uint32(333), uint32(0)
	w.routers[0].start(strings.Replace(tor.IPv6, "as 64512", "as 64500; direct", 1))
	c := w.config(with(tor6(1), func(p *speaker.Peer) {
		p.LocalPref, p.MED = &pref, &med
		p.Communities, p.LargeCommunities = [][2]uint16{{64500, 7}, {64500, 8}}, [][3]uint32{{64500, 1, 4294967295}}
	}))
	c.LocalASN = 64500
	w.run(c)
	w.wantLearned(w.routers[0].Netns, atRouter6)
	out := w.routers[0].show(pool6)
	for _, want := range []string{"BGP.local_pref: 333", "BGP.med: 0", "(64500,7)", "(64500,8)", "BGP.large_community: (64500, 1, 4294967295)", "BGP.next_hop: fd00:1::2"} {
		if !strings.Contains(out, want) {
			w.fail("the router has no %q in\n%s", want, out)
		}
	}
}

// reflected: the local pod wins, here and in what the node announces; when it is gone the other node's takes over.
func reflected(w *world) {
	w.routers[0].start(tor.IPv6 + "protocol static { ipv6; route " + single6 + "/128 unreachable; }")
	w.routers[1].start(tor.IPv6)
	w.run(w.config(with(tor6(1), func(p *speaker.Peer) { p.ImportAccept = accept("2001:db8:f::/48", 128) }),
		with(tor6(2), func(p *speaker.Peer) { p.ImportAccept = nil })))
	fromRouter := single6 + " via fd00:1::1 dev up1"
	at2 := func(addr string) string { return addr + " via fd00:2::2 dev node" }
	w.wantLearned(w.node, fromRouter)
	w.wantLearned(w.routers[1].Netns, at2(pool6))
	w.announce(single6, "pod")
	w.ip("-6 route add " + single6 + " dev pod proto 72 metric 16")
	w.wantLearned(w.routers[1].Netns, at2(pool6), at2(single6))
	if out := w.ip("-6 route get " + single6); !strings.Contains(out, "dev pod ") {
		w.fail("the node itself reaches the address by %s", out)
	}
	w.withdraw(single6)
	w.ip("-6 route del " + single6 + " dev pod proto 72")
	w.wantLearned(w.routers[1].Netns, at2(pool6))
	w.wantLearned(w.node, fromRouter)
}

func filtersLive(w *world) {
	w.routers[0].start(tor.IPv6 + "protocol static { ipv6; route 2001:db8:a::/48 unreachable; }")
	w.announce(single6, "pod")
	w.run(w.config(tor6(1)))
	since := w.wantEstablished("tor1-v6").Since
	w.wantLearned(w.routers[0].Netns, atRouter6, single)
	w.wantLearned(w.node, default6)
	c := w.config(with(tor6(1), func(p *speaker.Peer) { p.ImportAccept = accept("2001:db8::/32", 48) }))
	c.ExportAccept, c.Summaries = nil, nil
	w.configure(c)
	w.wantLearned(w.routers[0].Netns)
	w.wantLearned(w.node, "2001:db8:a::/48 via fd00:1::1 dev up1")
	w.configure(w.config(tor6(1)))
	w.wantLearned(w.routers[0].Netns, atRouter6, single)
	w.wantLearned(w.node, default6)
	w.wantSame("tor1-v6", since)
}

func noPeers(w *world) {
	w.routers[0].start(tor.IPv6)
	w.run(w.config(tor6(1)))
	w.wantLearned(w.routers[0].Netns, atRouter6)
	w.wantLearned(w.node, default6)
	w.configure(w.config())
	w.wantLearned(w.routers[0].Netns)
	w.wantLearned(w.node)
	w.eventually("there is no session", func() error {
		s, err := w.status()
		if err == nil && len(s.Sessions) > 0 {
			err = fmt.Errorf("there are %+v", s.Sessions)
		}
		return err
	})
}
