// SPDX-License-Identifier: Apache-2.0

package unnumbered

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"flock.fritzlab.net/flock/test/lab"
)

// TestLink: the node is advertised as nobody's default router, and the router that is on the link is told of once, although
// it says nothing by itself.
func TestLink(t *testing.T) {
	node, router := newNetns(t), newNetns(t)
	must(t, router.Sysctl("ipv6/conf/all/forwarding", "1"))
	heard := make(chan []byte, 10)
	must(t, lab.Cable{MTU: 1500, A: lab.End{Netns: node, Name: "up"}, B: lab.End{Netns: router, Name: "node"}}.Lay())
	listen(t, router, heard)
	found := make(chan netip.Addr, 10)
	serve(t, node, Link{Name: "up", Log: slog.New(slog.DiscardHandler), Found: func(a netip.Addr) { found <- a }})
	want := linkLocal(t, router, "node")
	select {
	case got := <-found:
		if got != want {
			t.Errorf("found %s, not %s", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the router is not found")
	}
	b := <-heard
	if lifetime := int(b[6])<<8 | int(b[7]); lifetime != 0 || len(b) != 24 {
		t.Errorf("the advertisement is %x", b)
	}
	// A solicitation is answered at once, and the router no news.
	solicit(t, router)
	select {
	case <-heard:
	case <-time.After(5 * time.Second):
		t.Error("the solicitation is not answered")
	}
	select {
	case a := <-found:
		t.Errorf("found %s too", a)
	default:
	}
}

func newNetns(t *testing.T) *lab.Netns {
	t.Helper()
	n, err := lab.NewNetns(lab.UniqueName("flt-gobgp-link"))
	must(t, err)
	t.Cleanup(func() { n.Delete() })
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve follows the link, on one thread inside the namespace, where it opens its socket.
func serve(t *testing.T, n *lab.Netns, l Link) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.Do(func() error { l.Run(ctx); return nil })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// listen hands on the advertisements that come from the link.
func listen(t *testing.T, n *lab.Netns, heard chan<- []byte) {
	var conn *icmp.PacketConn
	must(t, n.Do(func() (err error) { conn, err = icmp.ListenPacket("ip6:ipv6-icmp", "::"); return err }))
	t.Cleanup(func() { conn.Close() })
	must(t, conn.IPv6PacketConn().SetControlMessage(ipv6.FlagHopLimit, true))
	go func() {
		for {
			buf := make([]byte, 1500)
			size, control, _, err := conn.IPv6PacketConn().ReadFrom(buf)
			if err != nil {
				return
			}
			if ipv6.ICMPType(buf[0]) == ipv6.ICMPTypeRouterAdvertisement && control.HopLimit == 255 {
				heard <- buf[:size]
			}
		}
	}()
}

func solicit(t *testing.T, n *lab.Netns) {
	var s *socket
	must(t, n.Do(func() error {
		link, err := net.InterfaceByName("node")
		if err == nil {
			s, err = open(link)
		}
		return err
	}))
	defer s.conn.Close()
	must(t, s.send(allRouters, &icmp.Message{Type: ipv6.ICMPTypeRouterSolicitation, Body: &icmp.RawBody{Data: make([]byte, 4)}}))
}

func linkLocal(t *testing.T, n *lab.Netns, link string) netip.Addr {
	t.Helper()
	out, err := n.Run(t.Context(), "ip", "-6", "addr", "show", "dev", link)
	must(t, err)
	_, rest, _ := strings.Cut(out, "inet6 fe80")
	text, _, _ := strings.Cut("fe80"+rest, "/")
	return netip.MustParseAddr(text)
}
