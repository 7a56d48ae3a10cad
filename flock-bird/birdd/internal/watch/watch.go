// SPDX-License-Identifier: Apache-2.0

// Package watch tells of the kernel's changes that birdd has to answer: a summary that somebody deleted,
// an address of the node's own that has come or gone.
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
	// address of the node that is not link-local has come or gone. Both are called when news was lost.
	Summary, Address func()

	socket *nl.NetlinkSocket
}

// Open listens in the calling thread's network namespace.
func Open() (*Watcher, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("listen to the kernel: %w", err)
	}
	if err := socket.SetReceiveBufferSize(receiveBuffer, true); err != nil {
		socket.Close()
		return nil, fmt.Errorf("listen to the kernel: set the buffer's size: %w", err)
	}
	return &Watcher{socket: socket}, nil
}

// Run calls the functions until the context ends, which closes the watcher and is not an error.
func (w *Watcher) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.socket.Close)()
	for {
		messages, from, err := w.socket.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			w.Summary()
			w.Address()
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
