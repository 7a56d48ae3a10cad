// SPDX-License-Identifier: Apache-2.0

// Package watch tells of the kernel's changes that birdd has to answer: a summary that somebody deleted,
// an address of the node's own that has come or gone, a link that died while addresses were announced by it.
package watch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// receiveBuffer holds the news of some thousand routes, in bytes.
const receiveBuffer = 4 << 20

// Watcher listens to the kernel.
type Watcher struct {
	// Summary is called when a route that answers for a pool, or could, has gone; Address when an
	// address of the node that is not link-local has come or gone; Death when a link is gone to which IPv4
	// routes of the announcement table led. All are called when news was lost.
	Summary, Address, Death func()

	socket    *nl.NetlinkSocket
	announced announced
}

// Open listens in the calling thread's network namespace, whose announcement table is the one given.
func Open(table uint32) (*Watcher, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_LINK)
	if err != nil {
		return nil, fmt.Errorf("listen to the kernel: %w", err)
	}
	if err := socket.SetReceiveBufferSize(receiveBuffer, true); err != nil {
		socket.Close()
		return nil, fmt.Errorf("listen to the kernel: set the buffer's size: %w", err)
	}
	conn, err := rtnl.Dial()
	if err != nil {
		socket.Close()
		return nil, err
	}
	w := &Watcher{socket: socket, announced: announced{conn: conn, table: table}}
	if err := w.announced.list(); err != nil {
		socket.Close()
		conn.Close()
		return nil, err
	}
	return w, nil
}

// Run calls the functions until the context ends, which closes the watcher and is not an error.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.announced.conn.Close()
	defer context.AfterFunc(ctx, w.socket.Close)()
	for {
		messages, from, err := w.socket.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			w.Summary()
			w.Address()
			w.Death()
			// Without a new list a later death may go unnoticed, no more: nothing to end for.
			_ = w.announced.list()
		case err != nil:
			return fmt.Errorf("listen to the kernel: %w", err)
		case from.Pid == nl.PidKernel:
			w.tell(messages)
		}
	}
}

// tell calls each function once at most.
func (w *Watcher) tell(messages []syscall.NetlinkMessage) {
	if slices.ContainsFunc(messages, lostSummary) {
		w.Summary()
	}
	if slices.ContainsFunc(messages, changedAddress) {
		w.Address()
	}
	died := false
	for _, m := range messages {
		died = w.announced.died(m) || died
	}
	if died {
		w.Death()
	}
}

func lostSummary(m syscall.NetlinkMessage) bool {
	if m.Header.Type != unix.RTM_DELROUTE || len(m.Data) < unix.SizeofRtMsg {
		return false
	}
	r := nl.DeserializeRtMsg(m.Data)
	ours := r.Protocol == uint8(rtnl.Proto) || r.Protocol == uint8(rtnl.ProtoAnnounce)
	return ours && (r.Type == unix.RTN_BLACKHOLE || r.Type == unix.RTN_UNREACHABLE)
}

func changedAddress(m syscall.NetlinkMessage) bool {
	if m.Header.Type != unix.RTM_NEWADDR && m.Header.Type != unix.RTM_DELADDR || len(m.Data) < unix.SizeofIfAddrmsg {
		return false
	}
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfAddrmsg:])
	if err != nil {
		return false
	}
	return slices.ContainsFunc(attrs, func(a syscall.NetlinkRouteAttr) bool {
		addr, ok := netip.AddrFromSlice(a.Value)
		return ok && a.Attr.Type == unix.IFA_ADDRESS && !addr.IsLinkLocalUnicast()
	})
}
