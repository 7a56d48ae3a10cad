// SPDX-License-Identifier: Apache-2.0

// Package rtnl holds what flock's programs share about the kernel: the numbers and names that mark
// flock's links and routes, and one netlink connection for all of them.
package rtnl

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The numbers that mark what is flock's. The installer names them in rt_protos.d and rt_tables.d.
const (
	// Proto marks a pod's host routes and the pools' blackholes in the main table.
	Proto netlink.RouteProtocol = 72
	// ProtoAnnounce marks what is to be announced, in TableAnnounce.
	ProtoAnnounce netlink.RouteProtocol = 73
	// TableAnnounce is read by BIRD and by nothing else: no rule looks it up.
	TableAnnounce = 7273
	// Metric is the priority of every route of flock: below BIRD's 32, and below the 1024 that the
	// kernel gives an IPv6 route without one, so that a local pod wins over the router's path to it.
	// Anycast routes in TableAnnounce, which nothing forwards by, add their link's index.
	Metric = 16
	// MetricReady is the priority of the route of an anycast address to those of its pods that are ready: the
	// kernel prefers it to the route to all of them, and falls back to that when the last of them is gone.
	MetricReady = 8
	// LinkGroup is the link group of every host-side pod link.
	LinkGroup = 7273
)

// Open returns a netlink handle in the calling thread's network namespace. Its dumps are filtered by
// the kernel (strict checking), which is ten times cheaper than filtering them here.
func Open() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := h.SetStrictCheck(true); err != nil {
		h.Close()
		return nil, fmt.Errorf("set strict checking on netlink: %w", err)
	}
	return h, nil
}

// dumpTries bounds Dump; each interruption means that somebody changed the table meanwhile.
const dumpTries = 16

// Dump repeats a dump that the kernel reports as interrupted, and fails if it never gets a whole one:
// nobody may delete on the strength of a partial list.
func Dump[T any](dump func() ([]T, error)) ([]T, error) {
	var err error
	for range dumpTries {
		var items []T
		if items, err = dump(); err == nil {
			return items, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("interrupted %d times: %w", dumpTries, err)
}
