// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Route is one route of the kernel, as far as flock looks at routes.
type Route struct {
	Dst    netip.Prefix
	Table  uint32
	Type   uint8 // unix.RTN_UNICAST and so on
	Proto  netlink.RouteProtocol
	Metric uint32
	// Link is the index of the device; 0 for a route without one, and for one through several.
	Link int
	// Group is the ID of the nexthop object, mostly a group, that the route goes through; 0 for none.
	Group uint32
}

// String returns the route as ip(8) shows it, with numbers where ip knows names.
func (r Route) String() string {
	var b strings.Builder
	if r.Type != unix.RTN_UNICAST {
		fmt.Fprintf(&b, "%s ", typeName(r.Type))
	}
	b.WriteString(r.Dst.String())
	if r.Group != 0 {
		fmt.Fprintf(&b, " nhid %d", r.Group)
	}
	if r.Link != 0 {
		fmt.Fprintf(&b, " dev #%d", r.Link)
	}
	fmt.Fprintf(&b, " table %d proto %d metric %d", r.Table, r.Proto, r.Metric)
	return b.String()
}

func typeName(t uint8) string {
	switch t {
	case unix.RTN_LOCAL:
		return "local"
	case unix.RTN_BLACKHOLE:
		return "blackhole"
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	}
	return fmt.Sprintf("type-%d", t)
}

// AddRoute adds a route. One to the same destination in the same table with the same metric is an
// error that matches [unix.EEXIST], whatever else it says.
func (c *Conn) AddRoute(r Route) error {
	return c.newRoute(r, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
}

// ReplaceRoute adds a route in the place of one with the same destination, table and metric, if there
// is one, without a moment in which there is neither.
func (c *Conn) ReplaceRoute(r Route) error {
	return c.newRoute(r, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
}

func (c *Conn) newRoute(r Route, flags int) error {
	if err := c.Send(unix.RTM_NEWROUTE, flags, r.message(false)...); err != nil {
		return fmt.Errorf("add route %s: %w", r, err)
	}
	return nil
}

// DeleteRoute deletes the first route that is like r; a zero Metric, Link or Group means any. It
// returns whether there was one: deleting what is absent is not an error.
func (c *Conn) DeleteRoute(r Route) (bool, error) {
	err := c.Send(unix.RTM_DELROUTE, 0, r.message(true)...)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete route %s: %w", r, err)
	}
	return true, nil
}

// Routes returns the routes of the family (unix.AF_INET or AF_INET6) that are like the filter in every
// field of it that is not zero: Table, Type, Proto, Link and, compared here, Dst. A route through a
// group is one of each of its devices. The kernel filters, so what does not match costs little.
func (c *Conn) Routes(family int, like Route) ([]Route, error) {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family), Type: like.Type, Protocol: uint8(like.Proto)}}
	parts := append([]nl.NetlinkRequestData{msg}, attributes(Route{Table: like.Table, Link: like.Link})...)
	bodies, err := c.List(unix.RTM_GETROUTE, parts...)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) { // no such table, no such link
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	routes := make([]Route, 0, len(bodies))
	for _, body := range bodies {
		r, err := ParseRoute(body)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		routes = append(routes, r)
	}
	if like.Dst.IsValid() {
		routes = slices.DeleteFunc(routes, func(r Route) bool { return r.Dst != like.Dst })
	}
	return routes, nil
}

// Lookup returns the route, as it stands in its table, that a packet of this node to the address
// takes, and false when it takes none or one that drops it.
func (c *Conn) Lookup(addr netip.Addr) (Route, bool, error) {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(Family(addr)), Dst_len: uint8(addr.BitLen()), Flags: unix.RTM_F_FIB_MATCH}}
	bodies, err := c.Get(unix.RTM_GETROUTE, msg, nl.NewRtAttr(unix.RTA_DST, addr.AsSlice()))
	for _, none := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL} {
		if errors.Is(err, none) { // no route, unreachable, prohibit and blackhole, in the kernel's words
			return Route{}, false, nil
		}
	}
	if err != nil {
		return Route{}, false, fmt.Errorf("look up the route to %s: %w", addr, err)
	}
	if len(bodies) == 0 {
		return Route{}, false, fmt.Errorf("look up the route to %s: empty answer", addr)
	}
	r, err := ParseRoute(bodies[0])
	return r, err == nil, err
}

// Family returns the address's family, unix.AF_INET or AF_INET6.
func Family(addr netip.Addr) int {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
