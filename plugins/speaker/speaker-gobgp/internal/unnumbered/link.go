// SPDX-License-Identifier: Apache-2.0

// Package unnumbered finds the routers on a link that nobody has named, and lets them find the node: it advertises the
// node on the link, as a router advertisement that is no offer to route, and listens for whoever speaks there.
package unnumbered

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// advertiseEvery is the longest time between two advertisements, as with BIRD.
const advertiseEvery = 10 * time.Second

// retryEvery is the time between two looks for a link that is not there.
const retryEvery = time.Second

// hopLimit shows that a message has come from the link itself (RFC 4861, section 4).
const hopLimit = 255

// MaxRouters bounds how many routers of one link are told of.
const MaxRouters = 32

var allRouters, allNodes = netip.MustParseAddr("ff02::2"), netip.MustParseAddr("ff02::1")

// Link is a link with routers.
type Link struct {
	Name string
	Log  *slog.Logger
	// Found is called with the link-local address of each neighbour, once.
	Found func(netip.Addr)
}

// Run advertises and listens until the context ends. A link that is not there is waited for.
func (l Link) Run(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		err := l.serve(ctx)
		if err != nil && err.Error() != said && ctx.Err() == nil {
			said = err.Error()
			l.Log.Warn("link of an unnumbered peer", "link", l.Name, "error", said)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

// serve ends when the link does.
func (l Link) serve(ctx context.Context) error {
	link, err := net.InterfaceByName(l.Name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", l.Name, err)
	}
	s, err := open(link)
	if err != nil {
		return fmt.Errorf("open link %s: %w", l.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { s.conn.Close() })()
	defer cancel()
	solicited := make(chan struct{}, 1)
	failed := make(chan error, 1)
	go func() { failed <- s.advertise(ctx, solicited) }()
	err = l.listen(s, solicited)
	cancel()
	return errors.Join(err, <-failed)
}

// listen tells of everybody whose address on the link shows.
func (l Link) listen(s *socket, solicited chan<- struct{}) error {
	known := map[netip.Addr]bool{}
	for {
		from, kind, err := s.receive()
		if err != nil {
			return fmt.Errorf("listen on link %s: %w", l.Name, err)
		}
		if kind == ipv6.ICMPTypeRouterSolicitation {
			select {
			case solicited <- struct{}{}:
			default:
			}
		}
		if from.IsLinkLocalUnicast() && !known[from] && len(known) < MaxRouters && !s.isOwn(from) {
			known[from] = true
			l.Found(from)
		}
	}
}

// socket hears and says ICMPv6 on one link.
type socket struct {
	link *net.Interface
	conn *icmp.PacketConn
}

func open(link *net.Interface) (*socket, error) {
	conn, err := icmp.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, err
	}
	s := &socket{link: link, conn: conn}
	p := conn.IPv6PacketConn()
	err = errors.Join(p.SetMulticastHopLimit(hopLimit), p.SetMulticastInterface(link), p.SetMulticastLoopback(false),
		p.SetControlMessage(ipv6.FlagInterface, true), p.JoinGroup(link, &net.IPAddr{IP: allRouters.AsSlice()}))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// receive returns the next message of the link.
func (s *socket) receive() (netip.Addr, ipv6.ICMPType, error) {
	buf := make([]byte, 1500)
	for {
		n, control, from, err := s.conn.IPv6PacketConn().ReadFrom(buf)
		if err != nil {
			return netip.Addr{}, 0, err
		}
		ip, ok := from.(*net.IPAddr)
		if !ok || n < 1 || control == nil || control.IfIndex != s.link.Index {
			continue
		}
		addr, _ := netip.AddrFromSlice(ip.IP)
		return addr, ipv6.ICMPType(buf[0]), nil
	}
}

func (s *socket) isOwn(a netip.Addr) bool {
	addrs, err := s.link.Addrs()
	if err != nil {
		return false
	}
	for _, own := range addrs {
		if ipnet, ok := own.(*net.IPNet); ok && ipnet.IP.Equal(a.AsSlice()) {
			return true
		}
	}
	return false
}

// advertise asks the routers for a sign of life and tells them of the node, now, whenever one asks, and again after some
// time. The question goes first: a router that answers is known by the time it connects.
func (s *socket) advertise(ctx context.Context, solicited <-chan struct{}) error {
	for {
		if err := errors.Join(s.send(allRouters, ping()), s.send(allNodes, s.advertisement())); err != nil {
			s.conn.Close() // which ends the listening too
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-solicited:
		case <-time.After(advertiseEvery - rand.N(advertiseEvery/4)):
		}
	}
}

func (s *socket) send(to netip.Addr, m *icmp.Message) error {
	b, err := m.Marshal(nil) // the kernel adds the checksum
	if err != nil {
		return err
	}
	if _, err = s.conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice(), Zone: s.link.Name}); err != nil {
		return fmt.Errorf("send on link %s: %w", s.link.Name, err)
	}
	return nil
}

func ping() *icmp.Message {
	return &icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{}}
}

// advertisement is a router advertisement (RFC 4861, section 4.2) whose lifetime, 0, makes the node nobody's default
// router, with the node's address on the link layer.
func (s *socket) advertisement() *icmp.Message {
	const sourceLinkLayer, unit = 1, 8
	body := make([]byte, 12) // hop limit, flags, lifetime and timers: nothing to say
	if mac := s.link.HardwareAddr; len(mac) == 6 {
		body = append(append(body, sourceLinkLayer, len6/unit), mac...)
	}
	return &icmp.Message{Type: ipv6.ICMPTypeRouterAdvertisement, Body: &icmp.RawBody{Data: body}}
}

// len6 is the length of the option of a link with Ethernet's addresses.
const len6 = 2 + 6
