// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/tor"
)

// logged tells whether the speaker's log has the text.
func (s *site) logged(text string) error {
	log, err := os.ReadFile(s.path("speaker.log"))
	if err == nil && !strings.Contains(string(log), text) {
		err = fmt.Errorf("%q is not in the log", text)
	}
	return err
}

// TestIPv4OverIPv6: one session carries both families, and IPv4 goes by IPv6 next hops.
func TestIPv4OverIPv6(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	p := tor6(1)
	p.IPv4 = true
	s.start(s.config(p), strings.Replace(tor.IPv6, "ipv6 { import all;", "ipv4 { import all; export all; extended next hop on; }; ipv6 { import all;", 1)+
		"protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }")
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter, "10.244.1.0/24 via inet6 fd00:1::2 dev node proto bird metric 32")
	s.wantRoutes(s.node, default6, "default via inet6 fd00:1::1 dev up1 proto bgp metric 32")
}

// unnumbered returns the peer that a router's link is, for both families.
func unnumbered(router int) speaker.Peer {
	p := tor6(router)
	p.Address, p.Interface, p.IPv4 = p.LocalAddress, fmt.Sprintf("up%d", router), true
	return p
}

// startUnnumbered starts the routers' BIRD, which, unlike others, has to be told the node's address.
func (s *site) startUnnumbered() {
	s.Helper()
	for i, r := range s.routers {
		node := linkLocal(s.ip(fmt.Sprintf("-6 addr show dev up%d", i+1)))
		r.start(strings.Replace(`
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }
protocol bgp node { SESSION neighbor NODE as 64512; interface "node";
	ipv6 { import all; export all; };
	ipv4 { import all; export all; extended next hop on; };
}`, "NODE", node, 1))
	}
}

// defaults returns the node's default routes by the two routers' link-local addresses.
func (s *site) defaults() []string {
	s.Helper()
	var routes []string
	for _, family := range []string{"", "inet6 "} {
		route := "default proto bgp metric 32"
		for i, r := range s.routers {
			route += fmt.Sprintf(" nexthop via %s%s dev up%d weight 1", family, linkLocal(r.ip("-6 addr show dev node")), i+1)
		}
		routes = append(routes, route)
	}
	return routes
}

// TestUnnumbered: the node knows the interfaces and nothing of the routers. The second link comes later.
func TestUnnumbered(t *testing.T) {
	s := newSite(t, 2)
	s.announceSummaries()
	s.ip("link set up2 name later")
	s.launch()
	s.configure(s.config(unnumbered(1), unnumbered(2)))
	if is := s.status().Sessions; len(is) != 2 || is[0].Address.IsValid() || is[0].State != speaker.Active {
		t.Errorf("before any router: %+v", is)
	}
	s.ip("link set later down")
	s.ip("link set later name up2")
	s.ip("link set up2 up")
	s.startUnnumbered()
	s.wantEstablished(2)
	for i, r := range s.routers {
		via := linkLocal(s.ip(fmt.Sprintf("-6 addr show dev up%d", i+1))) + " dev node proto bird metric 32"
		s.wantRoutes(r.Netns, "2001:db8:1::/64 via "+via, "10.244.1.0/24 via inet6 "+via)
	}
	s.wantRoutes(s.node, s.defaults()...)
	for i, is := range s.status().Sessions {
		if want := linkLocal(s.routers[i].ip("-6 addr show dev node")) + fmt.Sprintf("%%up%d", i+1); is.Address.String() != want || is.Name != want {
			t.Errorf("session %d is with %s, not %s", i, is.Address, want)
		}
	}
}

// TestUnnumberedRestart: a speaker that was killed finds the routers again, and no route is lost.
func TestUnnumberedRestart(t *testing.T) {
	s := newSite(t, 2)
	s.announceSummaries()
	config := s.config(unnumbered(1), unnumbered(2))
	s.start(config)
	s.startUnnumbered()
	s.wantRoutes(s.node, s.defaults()...)
	s.wantEstablished(2)
	atRouter, atNode := s.watchDeletes(s.routers[0].Netns), s.watchDeletes(s.node)
	s.kill()
	s.launch()
	s.configure(config)
	s.wantEstablished(2)
	s.eventually("the pools are announced again", func() error {
		if sent := s.status().Sent; len(sent) != 2 || len(sent[config.Summaries[0]]) != 2 {
			return errNotYet
		}
		return nil
	})
	s.wantRoutes(s.node, s.defaults()...)
	if lost := append(atRouter(), atNode()...); len(lost) > 0 {
		t.Errorf("with the restart went %s", lost)
	}
}

// linkLocal returns the link-local address in the output of "ip -6 addr".
func linkLocal(out string) string {
	_, rest, _ := strings.Cut(out, "inet6 fe80")
	address, _, _ := strings.Cut("fe80"+rest, "/")
	return address
}

// TestLinkLocalPeer: the router's link-local address is known.
func TestLinkLocalPeer(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	p := tor6(1)
	p.Address, p.Interface = addr(linkLocal(s.routers[0].ip("-6 addr show dev node"))), "up1"
	node := linkLocal(s.ip("-6 addr show dev up1"))
	s.start(s.config(p), strings.Replace(tor.IPv6, "neighbor fd00:N::2 as 64512;", "neighbor "+node+` as 64512; interface "node"; passive;`, 1))
	s.wantRoutes(s.routers[0].Netns, "2001:db8:1::/64 via "+node+" dev node proto bird metric 32")
	s.wantRoutes(s.node, "default via "+p.Address.String()+" dev up1 proto bgp metric 32")
}

// TestMultihop: the router is behind another, which the node reaches by a route of its own.
func TestMultihop(t *testing.T) {
	for name, asn := range map[string]uint32{"external": 64512, "internal": 64500} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			s.announceSummaries()
			r := s.routers[0]
			r.ip("link add lo1 type veth peer name lo2")
			r.ip("link set lo1 up")
			r.ip("-6 addr add 2001:db8:ffff::1/128 dev lo1 nodad")
			s.ip("-6 route add 2001:db8:ffff::/64 via fd00:1::1 dev up1 proto static metric 100")
			p := tor6(1)
			p.Address, p.LocalAddress, p.Multihop = addr("2001:db8:ffff::1"), addr("fd00:1::2"), 3
			c := s.config(p)
			c.LocalASN = asn
			s.start(c, `
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol direct { ipv6; }
protocol bgp node { SESSION local 2001:db8:ffff::1 as 64500; neighbor fd00:1::2 as `+fmt.Sprint(asn)+`; multihop 3;
	ipv6 { import all; export where source = RTS_STATIC; next hop self; };
}`)
			const static = "2001:db8:ffff::/64 via fd00:1::1 dev up1 proto static metric 100"
			s.wantRoutes(r.Netns, pool6AtRouter)
			s.wantRoutes(s.node, default6, static)
			// Without a way to the next hop there is no default route.
			s.ip("-6 route del 2001:db8:ffff::/64")
			s.wantRoutes(s.node)
			s.ip("-6 route add " + static)
			s.wantRoutes(s.node, default6, static)
		})
	}
}

// TestAttributes: what an internal peer is sent; other attributes take effect without a new session.
func TestAttributes(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	p := tor6(1)
	c := s.config(p)
	c.LocalASN = 64500
	s.start(c, strings.Replace(tor.IPv6, "as 64512", "as 64500; direct", 1))
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter)
	since := s.status().Sessions[0].Since
	has := func(want ...string) {
		t.Helper()
		s.eventually("the router has the attributes", func() error {
			out, err := s.routers[0].Bird.Ask(s.Context(), "show route all 2001:db8:1::/64")
			for _, w := range want {
				if err == nil && !strings.Contains(out, w) {
					err = fmt.Errorf("no %q in\n%s", w, out)
				}
			}
			return err
		})
	}
	has("BGP.local_pref: 100", "BGP.next_hop: fd00:1::2")
	pref, med := uint32(333), uint32(0)
	p.LocalPref, p.MED, p.Communities, p.LargeCommunities = &pref, &med, [][2]uint16{{64500, 7}}, [][3]uint32{{64500, 1, 2}}
	c.Peers = []speaker.Peer{p}
	s.configure(c)
	has("BGP.local_pref: 333", "BGP.med: 0", "BGP.community: (64500,7)", "BGP.large_community: (64500, 1, 2)")
	if is := s.status().Sessions[0]; is.Since != since || is.Families[0].Exported != 1 {
		t.Errorf("the session was since %s, and is %+v", since, is)
	}
}

// connecting is a router that the node cannot connect to: it listens on another port.
var connecting = strings.Replace(tor.IPv6, "ipv6 { import", "local port 1179 as 64500; ipv6 { import", 1)

// TestRouterConnects: a router that only connects gets its session, and nobody else who connects does.
func TestRouterConnects(t *testing.T) {
	s := newSite(t, 2)
	s.announceSummaries()
	s.start(s.config(tor6(1)), connecting, connecting)
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter)
	s.wantRoutes(s.node, default6)
	s.wantRoutes(s.routers[1].Netns)
}

// TestPortInUse: somebody else listens on BGP's port; when that has ended, the same configuration works.
func TestPortInUse(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	s.launch()
	var other net.Listener
	must(t, s.node.Do(func() (err error) { other, err = net.Listen("tcp", "[::]:179"); return err }))
	if err := s.speaker.Configure(t.Context(), s.config(tor6(1))); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Configure = %v", err)
	}
	other.Close()
	s.configure(s.config(tor6(1)))
	s.routers[0].start(tor.IPv6)
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter)
}

// TestPassword: a session takes the right password, another one, and then none.
func TestPassword(t *testing.T) {
	const password = "x; } # ' \\ 7"
	s := newSite(t, 1)
	s.announceSummaries()
	protected := strings.Replace(tor.IPv6, "ipv6 { import", `password "`+password+`"; ipv6 { import`, 1)
	p := tor6(1)
	p.Password = speaker.NewPassword("wrong")
	s.start(s.config(p), protected)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if s.status().Sessions[0].State == speaker.Established {
			t.Fatal("a session with the wrong password is established")
		}
	}
	p.Password = speaker.NewPassword(password)
	s.configure(s.config(p))
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter)
	p.Password = speaker.NewPassword("")
	s.configure(s.config(p))
	must(t, s.routers[0].Bird.End(t.Context(), os.Kill))
	s.routers[0].start(connecting)
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter)
	s.wantEstablished(1)
	if s.logged("x; }") == nil || s.logged(`x; } # ' \\ 7`) == nil {
		t.Error("the log shows the password")
	}
}

// TestConfigureAgain: sessions whose peer is as it was stay, whatever happens to others, and a configuration that is
// refused changes nothing.
func TestConfigureAgain(t *testing.T) {
	s := newSite(t, 2)
	s.announceSummaries()
	s.start(s.config(tor6(1), tor6(2)), tor.IPv6, tor.IPv6)
	s.wantEstablished(2)
	first := s.status().Sessions[0]
	s.configure(s.config(tor6(1), tor6(2)))
	slow := tor6(2)
	slow.HoldTime, slow.KeepaliveTime = 9*time.Second, 3*time.Second
	s.configure(s.config(tor6(1), slow))
	s.eventually("the other session has the hold time", func() error {
		out, err := s.routers[1].Bird.Ask(t.Context(), "show protocols all node6")
		if err == nil && !strings.Contains(out, "/9\n") {
			err = errors.New(out)
		}
		return err
	})
	refused := tor6(2)
	refused.BFD = speaker.BFDImmediate
	var refusal *speaker.RefusedError
	if err := s.speaker.Configure(t.Context(), s.config(refused)); !errors.As(err, &refusal) || refusal.Field != "bgp.peers[tor-2].bfd" {
		t.Errorf("Configure with BFD = %v", err)
	}
	s.wantEstablished(2)
	s.configure(s.config(tor6(1)))
	s.wantRoutes(s.routers[1].Netns)
	s.wantRoutes(s.node, default6)
	if now := s.status().Sessions; len(now) != 1 || now[0].Since != first.Since || now[0].State != speaker.Established {
		t.Errorf("the first session was %+v, and is %+v", first, now)
	}
	s.configure(s.config())
	s.wantRoutes(s.node)
	s.wantRoutes(s.routers[0].Netns)
	if out, err := s.node.Run(t.Context(), "ss", "-Hltn", "sport = 179"); err != nil || out != "" {
		t.Errorf("without peers it listens: %s%v", out, err)
	}
	other := s.config(tor6(1))
	other.RouterID = addr("10.255.1.9")
	s.configure(other)
	s.wantRoutes(s.node, default6)
	if got := s.status().RouterID; got != other.RouterID {
		t.Errorf("router ID %s", got)
	}
}

// TestFourOctetASN: AS numbers beyond 65535 on both sides.
func TestFourOctetASN(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	p := tor6(1)
	p.ASN = 4200000001
	c := s.config(p)
	c.LocalASN = 4200000002
	s.start(c, strings.NewReplacer("SESSION", "connect delay time 1; local as 4200000001;", "64512", "4200000002").Replace(tor.IPv6))
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter)
	s.wantRoutes(s.node, default6)
}

// TestLastError: the status says why there is no session.
func TestLastError(t *testing.T) {
	s := newSite(t, 1)
	s.start(s.config(tor6(1)))
	lastError := func(want string) {
		t.Helper()
		s.eventually("the session's last error is "+want, func() error {
			if is := s.status().Sessions[0]; is.State == speaker.Established || !strings.Contains(is.LastError, want) {
				return fmt.Errorf("it is %+v", is)
			}
			return nil
		})
	}
	lastError("connection refused")
	s.routers[0].start(strings.Replace(tor.IPv6, "SESSION", "connect delay time 1; local as 64501;", 1))
	lastError("bad")
}
