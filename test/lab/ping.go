// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
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
	// Timeout is how long the answer may take; 2 s unless set.
	Timeout time.Duration
}

// Ping sends one echo request from the namespace and returns how long the answer took.
func (n *Netns) Ping(ctx context.Context, to netip.Addr, opts PingOptions) (time.Duration, error) {
	if opts.Timeout == 0 {
		opts.Timeout = 2 * time.Second
	}
	if opts.Size == 0 {
		opts.Size = 64
	}
	var took time.Duration
	err := n.Do(func() (err error) {
		took, err = ping(ctx, to, opts)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ping %s from %s: %w", to, n.Name, err)
	}
	return took, nil
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

func ping(ctx context.Context, to netip.Addr, opts PingOptions) (time.Duration, error) {
	family := familyOf(to)
	conn, err := family.dial(ctx, to, opts.Source)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	echo := &icmp.Echo{ID: rand.IntN(1 << 16), Seq: 1, Data: make([]byte, opts.Size-family.headers)}
	request, err := (&icmp.Message{Type: family.request, Body: echo}).Marshal(nil)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := conn.SetDeadline(start.Add(opts.Timeout)); err != nil {
		return 0, err
	}
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	err = awaitReply(conn, family, to, echo)
	return time.Since(start), err
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
			return fmt.Errorf("answered by %s", from)
		}
		if len(body.Data) != len(echo.Data) {
			return errors.New("answered with another size")
		}
		return nil
	}
}
