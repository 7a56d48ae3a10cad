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
func (c *Conn) AddRoute(r Route) error { return c.Do(r.add()) }

func (r Route) add() *Request {
	return r.request("add route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
}

// ReplaceRoute adds a route in the place of one with the same destination, table and metric, if there
// is one, without a moment in which there is neither.
func (c *Conn) ReplaceRoute(r Route) error {
	return c.Do(r.request("add route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE))
}

// DeleteRoutes deletes, for each of the routes, the first one that is like it; a zero Metric, Link or
// Group means any. It returns those of which there was one, also with an error about others: deleting
// what is absent is not an error.
func (c *Conn) DeleteRoutes(routes ...Route) (deleted []Route, err error) {
	reqs := make([]*Request, len(routes))
	for i, r := range routes {
		reqs[i] = r.request("delete route", unix.RTM_DELROUTE, 0)
	}
	answers, err := c.Ask(reqs...)
	for i, a := range answers {
		switch {
		case a.Err == nil:
			deleted = append(deleted, routes[i])
		case !a.Is(unix.ESRCH, unix.ENODEV, unix.ENOENT):
			err = errors.Join(err, a.Err)
		}
	}
	return deleted, err
}

// Routes returns the routes of the family, unix.AF_INET, AF_INET6 or, for both, AF_UNSPEC, that are like
// the filter in every field of it that is not zero: Table, Type, Proto, Link and, compared here, Dst. A
// route through a group is one of each of its devices. The kernel filters, so what does not match costs
// little.
func (c *Conn) Routes(family int, like Route) ([]Route, error) {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family), Type: like.Type, Protocol: uint8(like.Proto)}}
	parts := append([]nl.NetlinkRequestData{msg}, attributes(Route{Table: like.Table, Link: like.Link})...)
	routes, err := List(c, NewRequest("list", "routes", unix.RTM_GETROUTE, 0, parts...), ParseRoute)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) { // no such table, no such link
		return nil, nil
	}
	if like.Dst.IsValid() {
		routes = slices.DeleteFunc(routes, func(r Route) bool { return r.Dst != like.Dst })
	}
	return routes, err
}

// Lookup returns for each address the route, as it stands in its table, that a packet of this node to it
// takes: the zero Route when it takes none or one that drops it.
func (c *Conn) Lookup(addrs ...netip.Addr) ([]Route, error) {
	reqs := make([]*Request, len(addrs))
	for i, addr := range addrs {
		reqs[i] = RouteTo(addr)
	}
	answers, err := c.Ask(reqs...)
	routes := make([]Route, len(answers))
	for i, a := range answers {
		// No route, unreachable, prohibit and blackhole, in the kernel's words.
		if a.Is(unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL) {
			continue
		}
		if err = a.Err; err == nil {
			routes[i], err = ParseRoute(a.Data)
		}
		if err != nil {
			return nil, err
		}
	}
	return routes, err
}

// RouteTo asks for the route that a packet of this node to the address takes, as it stands in its table.
// That spares the kernel to choose a source address among those of all links.
func RouteTo(addr netip.Addr) *Request {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(Family(addr)), Dst_len: uint8(addr.BitLen()), Flags: unix.RTM_F_FIB_MATCH}}
	return NewRequest("look up the route to", addr, unix.RTM_GETROUTE, 0, msg, AddrAttr(unix.RTA_DST, addr))
}
