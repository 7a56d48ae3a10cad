// SPDX-License-Identifier: Apache-2.0

// Package kernel is the speaker's view of the kernel: the announcement table that it follows, the links that next hops are
// on, and the routes that it installs.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// receiveBuffer holds the news of tens of thousands of routes, in bytes, as BIRD's does.
const receiveBuffer = 32 << 20

// News is what the kernel tells of since the last time.
type News struct {
	// Announced are the prefixes of the announcement table that have come or gone.
	Announced []netip.Prefix
	// Unsure tells that routes may have gone unseen: with their link, which the kernel does not tell of for IPv4, or
	// because the kernel had more to tell than there was room for. The announcement table is to be read again.
	Unsure bool
	// Main tells that routes of the main table, links or addresses have changed.
	Main bool
}

// Watcher listens to the kernel.
type Watcher struct{ socket *nl.NetlinkSocket }

// Watch listens in the calling thread's network namespace, from now on.
func Watch() (*Watcher, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_LINK)
	if err != nil {
		return nil, fmt.Errorf("listen to the kernel: %w", err)
	}
	// A smaller buffer does no harm that reading the table does not mend.
	if socket.SetReceiveBufferSize(receiveBuffer, true) != nil {
		_ = socket.SetReceiveBufferSize(receiveBuffer, false)
	}
	return &Watcher{socket}, nil
}

// Close closes a watcher that does not run.
func (w *Watcher) Close() { w.socket.Close() }

// Run hands messages to tell until the context ends, which closes the watcher and is not an error. No messages are told of
// when some were lost.
func (w *Watcher) Run(ctx context.Context, tell func([]syscall.NetlinkMessage)) error {
	defer context.AfterFunc(ctx, w.socket.Close)()
	for {
		messages, from, err := w.socket.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			tell(nil)
		case err != nil:
			return fmt.Errorf("listen to the kernel: %w", err)
		case from.Pid == nl.PidKernel:
			tell(messages)
		}
	}
}

// Take takes in what the watcher told and returns what it means.
func (a *Announced) Take(messages []syscall.NetlinkMessage) News {
	if len(messages) == 0 {
		return News{Unsure: true, Main: true}
	}
	var n News
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			r, err := rtnl.ParseRoute(m.Data)
			if err != nil {
				n.Unsure = true
				continue
			}
			n.Announced = append(n.Announced, a.take(r, m.Header.Type == unix.RTM_NEWROUTE)...)
			n.Main = n.Main || r.Table == unix.RT_TABLE_MAIN && matters(r, m.Header.Type)
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			n.Unsure = n.Unsure || takesRoutes(m)
			n.Main = true
		default:
			n.Main = true
		}
	}
	return n
}

// matters tells whether a change of the main table may change the speaker's routes: not what it has done itself, nor a
// pod's route.
func matters(r rtnl.Route, kind uint16) bool {
	return r.Proto != rtnl.Proto && (r.Proto != Proto || kind == unix.RTM_DELROUTE)
}

// takesRoutes tells whether a link's IPv4 routes have gone with it: it has been deleted, or is down.
func takesRoutes(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return true
	}
	return m.Header.Type == unix.RTM_DELLINK || nl.DeserializeIfInfomsg(m.Data).Flags&unix.IFF_UP == 0
}
