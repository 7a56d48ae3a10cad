// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// PingOptions are what an echo request may carry besides its destination.
type PingOptions struct {
	// Source is the sender's address; the kernel's choice unless set.
	Source netip.Addr
	// Size is the length of the whole IP packet in bytes; 64 unless set. No packet is ever fragmented.
	Size int
	// Timeout is how long an answer may take; 2 s unless set.
	Timeout time.Duration
}

// Ping tells whether an address answers the namespace, and returns how long the answer took. It asks once more where none
// came: while other raw sockets come and go the kernel passes this one over with one answer in some thousands, on any link
// and in any namespace. Only a [Pinger] tells whether a packet was lost.
func (n *Netns) Ping(ctx context.Context, to netip.Addr, opts PingOptions) (time.Duration, error) {
	took, err := n.pingOnce(ctx, to, opts)
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		return n.pingOnce(ctx, to, opts)
	}
	return took, err
}

func (n *Netns) pingOnce(ctx context.Context, to netip.Addr, opts PingOptions) (time.Duration, error) {
	p, err := n.NewPinger(ctx, to, opts)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	return p.Ping(ctx)
}

// Pinger sends echo requests to one address from one socket, each once. A socket that stays is passed over by the kernel
// less than one that comes and goes.
type Pinger struct {
	netns  *Netns
	to     netip.Addr
	opts   PingOptions
	family echoFamily
	conn   *net.IPConn
	id     int
	seq    uint16
}

// NewPinger returns a pinger in the namespace. Close it before the namespace goes.
func (n *Netns) NewPinger(ctx context.Context, to netip.Addr, opts PingOptions) (*Pinger, error) {
	if opts.Timeout == 0 {
		opts.Timeout = 2 * time.Second
	}
	if opts.Size == 0 {
		opts.Size = 64
	}
	p := &Pinger{netns: n, to: to, opts: opts, family: familyOf(to), id: rand.IntN(1 << 16)}
	err := n.Do(func() (err error) {
		p.conn, err = p.family.dial(ctx, to, opts.Source)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ping %s from %s: %w", to, n.Name, err)
	}
	return p, nil
}

// Ping sends one request and returns how long the answer took. Only one may be on its way. When ctx ends the pinger
// is closed.
func (p *Pinger) Ping(ctx context.Context) (time.Duration, error) {
	defer context.AfterFunc(ctx, func() { p.Close() })()
	p.seq++
	echo := &icmp.Echo{ID: p.id, Seq: int(p.seq), Data: make([]byte, p.opts.Size-p.family.headers)}
	start := time.Now()
	if err := p.exchange(echo, start.Add(p.opts.Timeout)); err != nil {
		return 0, fmt.Errorf("ping %s from %s: %w", p.to, p.netns.Name, err)
	}
	return time.Since(start), nil
}

// Close closes the socket.
func (p *Pinger) Close() error { return p.conn.Close() }

func (p *Pinger) exchange(echo *icmp.Echo, deadline time.Time) error {
	request, err := (&icmp.Message{Type: p.family.request, Body: echo}).Marshal(nil)
	if err != nil {
		return err
	}
	if err := p.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := p.conn.Write(request); err != nil {
		return err
	}
	return awaitReply(p.conn, p.family, p.to, echo)
}

// echoFamily is what differs between the two ICMPs.
type echoFamily struct {
	network        string
	request, reply icmp.Type
	protocol       int
	headers        int // bytes of the IP and the echo header
	level, option  int // the socket option that forbids fragmentation
}

func familyOf(a netip.Addr) echoFamily {
	if a.Is4() {
		return echoFamily{"ip4:icmp", ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, 1, 20 + 8,
			unix.IPPROTO_IP, unix.IP_MTU_DISCOVER}
	}
	return echoFamily{"ip6:ipv6-icmp", ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58, 40 + 8,
		unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER}
}

// dontFragment sets path MTU discovery to "do"; its number is the same in both families.
func (f echoFamily) dontFragment(_, _ string, c syscall.RawConn) (err error) {
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), f.level, f.option, unix.IP_PMTUDISC_DO)
	}); cerr != nil {
		return cerr
	}
	return err
}

// dial returns a raw socket that gets what comes from the address, and not what others are answered: many
// pings at once would fill its buffer.
func (f echoFamily) dial(ctx context.Context, to, source netip.Addr) (*net.IPConn, error) {
	dialer := net.Dialer{Control: f.dontFragment}
	if source.IsValid() {
		dialer.LocalAddr = &net.IPAddr{IP: source.AsSlice()}
	}
	conn, err := dialer.DialContext(ctx, f.network, to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.IPConn), nil
}

// awaitReply reads until the answer to echo arrives; others may ping the same address.
func awaitReply(conn net.PacketConn, family echoFamily, to netip.Addr, echo *icmp.Echo) error {
	buf := make([]byte, 1<<16)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		msg, err := icmp.ParseMessage(family.protocol, buf[:size])
		if err != nil || msg.Type != family.reply {
			continue
		}
		body, ok := msg.Body.(*icmp.Echo)
		if !ok || body.ID != echo.ID || body.Seq != echo.Seq {
			continue
		}
		if ip, ok := from.(*net.IPAddr); !ok || !ip.IP.Equal(to.AsSlice()) {
			continue // it came before the socket was connected
		}
		if len(body.Data) != len(echo.Data) {
			return errors.New("answered with another size")
		}
		return nil
	}
}
