// SPDX-License-Identifier: Apache-2.0

package speakertest

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/tor"
)

// importing is the peer that takes these prefixes.
func importing(p speaker.Peer, pairs ...any) speaker.Peer {
	p.ImportAccept = accept(pairs...)
	return p
}

func imports(w *world) {
	w.routers[0].start(tor.IPv6 + `protocol static { ipv6; route 2001:db8:a::/48 unreachable; route 2001:db8:b::/64 unreachable; }`)
	const a, b = "2001:db8:a::/48 via fd00:1::1 dev up1", "2001:db8:b::/64 via fd00:1::1 dev up1"
	w.run(w.config(tor6(1)))
	w.wantLearned(w.node, default6)
	w.configure(w.config(importing(tor6(1), "::/0", 128)))
	w.wantLearned(w.node, default6, a, b)
	w.configure(w.config(importing(tor6(1), "2001:db8::/32", 48)))
	w.wantLearned(w.node, a)
	w.configure(w.config(importing(tor6(1))))
	w.wantLearned(w.node)
	w.wantLearned(w.routers[0].Netns, atRouter6)
}

func ownLinks(w *world) {
	w.routers[0].start(tor.IPv6 + `
protocol static { ipv6;
	route fd00:1::/64 unreachable;		# the link itself
	route fd00::/16 unreachable;		# and around it
	route fd00:1::2/128 unreachable;	# the node's address
	route fd00:1::1/128 unreachable;	# the router's own
	route 2001:db8:a::/48 unreachable;
}`)
	const other = "2001:db8:a::/48 via fd00:1::1 dev up1"
	c := w.config(importing(tor6(1), "::/0", 128))
	w.run(c)
	w.wantLearned(w.node, default6, other)
	c.Own = append(c.Own, netip.MustParseAddr("2001:db8:a::99"))
	w.configure(c)
	w.wantLearned(w.node, default6)
}

func maxPrefixes(w *world) {
	var flood strings.Builder
	for i := range 50 {
		fmt.Fprintf(&flood, "route 2001:db8:%x::/48 unreachable;\n", 0x100+i)
	}
	w.routers[0].start(tor.IPv6 + "protocol static { ipv6; " + flood.String() + "}")
	w.run(w.config(with(importing(tor6(1), "::/0", 128), func(p *speaker.Peer) { p.MaxPrefixes = 10 })))
	since := w.wantEstablished("tor1-v6").Since
	w.eventually("ten prefixes are taken", func() error {
		routes, err := learned(w.ctx, w.node)
		if err == nil && len(routes) != 10 {
			err = fmt.Errorf("%d are", len(routes))
		}
		return err
	})
	w.never(2*time.Second, "more than ten are taken", func() bool {
		routes, err := learned(w.ctx, w.node)
		return err != nil || len(routes) != 10
	})
	w.wantSame("tor1-v6", since)
}

func ecmp(w *world) {
	for _, r := range w.routers {
		r.start(tor.DualStack)
	}
	w.run(w.config(tor4(1), tor6(1), tor4(2), tor6(2)))
	w.wantLearned(w.node, "default nexthop via fd00:1::1 dev up1 nexthop via fd00:2::1 dev up2",
		"default nexthop via 10.0.1.1 dev up1 nexthop via 10.0.2.1 dev up2")
	w.configure(w.config(tor4(1), tor6(1), tor4(2)))
	w.wantLearned(w.node, default6, "default nexthop via 10.0.1.1 dev up1 nexthop via 10.0.2.1 dev up2")
}

func peerDies(w *world) {
	brief := func(n int) speaker.Peer {
		return with(tor6(n), func(p *speaker.Peer) {
			p.GracefulRestart, p.HoldTime, p.KeepaliveTime = false, 3*time.Second, time.Second
		})
	}
	for _, r := range w.routers {
		r.start(tor.IPv6)
	}
	w.run(w.config(brief(1), brief(2)))
	w.wantLearned(w.node, "default nexthop via fd00:1::1 dev up1 nexthop via fd00:2::1 dev up2")
	w.must(w.routers[1].Bird.End(w.ctx, os.Kill))
	w.wantLearned(w.node, default6)
	w.eventually("the session with the dead peer is down", func() error {
		s, err := w.session("tor2-v6")
		if err == nil && s.State == speaker.Established {
			err = errNotYet
		}
		return err
	})
}

const password = "x; } # ' \\ 7"

func withPassword(text string) string {
	return strings.Replace(text, "ipv6 { import", `password "`+password+`"; ipv6 { import`, 1)
}

func md5(w *world) {
	w.routers[0].start(withPassword(tor.IPv6))
	w.run(w.config(with(tor6(1), func(p *speaker.Peer) { p.Password = speaker.NewPassword(password) })))
	w.wantEstablished("tor1-v6")
	w.wantLearned(w.routers[0].Netns, atRouter6)
}

func md5Wrong(w *world) {
	w.routers[0].start(withPassword(tor.IPv6))
	w.run(w.config(with(tor6(1), func(p *speaker.Peer) { p.Password = speaker.NewPassword("wrong") })))
	w.never(5*time.Second, "the session is up", func() bool {
		s, err := w.session("tor1-v6")
		return err == nil && s.State == speaker.Established
	})
	w.wantLearned(w.routers[0].Netns)
}

func ipv4OverIPv6(w *world) {
	w.routers[0].start(strings.Replace(tor.IPv6, "ipv6 { import all;", "ipv4 { import all; export all; extended next hop on; }; ipv6 { import all;", 1) +
		"protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }")
	w.run(w.config(with(tor6(1), func(p *speaker.Peer) { p.IPv4 = true })))
	w.wantLearned(w.routers[0].Netns, atRouter6, pool4+" via inet6 fd00:1::2 dev node")
	w.wantLearned(w.node, default6, "default via inet6 fd00:1::1 dev up1")
}

func ipv4LinkLocal(w *world) {
	r := w.routers[0]
	w.ip("addr add 169.254.77.2/30 dev up1")
	_, err := r.Run(w.ctx, "ip", "addr", "add", "169.254.77.1/30", "dev", "node")
	w.must(err)
	r.start(`
protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }
protocol bgp node4 { SESSION neighbor 169.254.77.2 as 64512; ipv4 { import all; export all; }; }
`)
	w.run(w.config(peer("tor1-v4", "169.254.77.1")))
	w.wantLearned(r.Netns, pool4+" via 169.254.77.2 dev node")
	w.wantLearned(w.node, "default via 169.254.77.1 dev up1")
}

// unnumbered: BIRD has to be told the node's address, so that the router advertisement is looked at by itself.
func unnumbered(w *world) {
	r := w.routers[0]
	own := linkLocal(w.ip("-6 addr show dev up1"))
	advertised := r.awaitAdvertisement()
	w.run(w.config(with(tor6(1), func(p *speaker.Peer) { p.Address, p.Interface, p.IPv4 = netip.Addr{}, "up1", true })))
	r.start(`
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }
protocol bgp node { SESSION neighbor ` + own + ` as 64512; interface "node";
	ipv6 { import all; export all; };
	ipv4 { import all; export all; extended next hop on; };
}`)
	s := w.wantEstablished("tor1-v6")
	out, err := r.Run(w.ctx, "ip", "-6", "addr", "show", "dev", "node")
	w.must(err)
	theirs := linkLocal(out)
	if s.Address.WithZone("").String() != theirs {
		w.fail("the session is with %s, want %s", s.Address, theirs)
	}
	w.wantLearned(r.Netns, pool6+" via "+own+" dev node", pool4+" via inet6 "+own+" dev node")
	w.wantLearned(w.node, "default via "+theirs+" dev up1", "default via inet6 "+theirs+" dev up1")
	if source := advertised(); source != own {
		w.fail("the node advertised itself on the link as %q, want %s", source, own)
	}
}

// linkLocal returns the link-local address in the output of "ip -6 addr".
func linkLocal(out string) string {
	_, rest, _ := strings.Cut(out, "inet6 fe80")
	addr, _, _ := strings.Cut("fe80"+rest, "/")
	return addr
}

// awaitAdvertisement listens for a router advertisement on the link to the node; the function returns its source.
func (r *router) awaitAdvertisement() func() string {
	r.w.Helper()
	var conn *icmp.PacketConn
	r.w.must(r.Do(func() (err error) { conn, err = icmp.ListenPacket("ip6:ipv6-icmp", "::"); return err }))
	return func() string {
		defer conn.Close()
		buf := make([]byte, 1500)
		r.w.must(conn.SetReadDeadline(time.Now().Add(r.w.Timeout)))
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return err.Error()
			}
			if ipv6.ICMPType(buf[0]) == ipv6.ICMPTypeRouterAdvertisement {
				addr, _ := netip.ParseAddr(from.String())
				return addr.WithZone("").String()
			}
		}
	}
}

// multihop: the router's address is behind its link, and the node has a route of its own there.
func multihop(w *world) {
	r := w.routers[0]
	for _, args := range []string{"link add lo1 type veth peer name lo2", "link set lo1 up", "-6 addr add 2001:db8:ffff::1/128 dev lo1 nodad"} {
		_, err := r.Run(w.ctx, "ip", strings.Fields(args)...)
		w.must(err)
	}
	const way = "2001:db8:ffff::/64 via fd00:1::1 dev up1 proto static metric 100"
	w.ip("-6 route add " + way)
	r.start(`
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol direct { ipv6; }
protocol bgp node { SESSION local 2001:db8:ffff::1 as 64500; neighbor fd00:1::2 as 64512; multihop 3;
	ipv6 { import all; export where source = RTS_STATIC; next hop self; };
}`)
	w.run(w.config(with(tor6(1), func(p *speaker.Peer) {
		p.Address, p.LocalAddress, p.Multihop = netip.MustParseAddr("2001:db8:ffff::1"), netip.MustParseAddr("fd00:1::2"), 3
	})))
	w.wantLearned(r.Netns, atRouter6)
	w.wantLearned(w.node, default6)
	w.ip("-6 route del 2001:db8:ffff::/64")
	w.wantLearned(w.node) // rather than an unreachable one
	w.ip("-6 route add " + way)
	w.wantLearned(w.node, default6)
}
