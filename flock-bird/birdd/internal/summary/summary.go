// SPDX-License-Identifier: Apache-2.0

// Package summary keeps the kernel's routes that cover the node's pools: in the main table they answer
// packets to free addresses, in the announcement table they are what the node announces.
package summary

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// Want is what there is to be.
type Want struct {
	// Pools are those that are announced whole.
	Pools []netip.Prefix
	// Type is that of the routes in the main table.
	Type v1alpha1.SummaryRoute
	// Table is the announcement table.
	Table uint32
}

// WantOf returns what a NodeConfig asks for.
func WantOf(c *v1alpha1.Config, table uint32) Want {
	return Want{Pools: c.Summaries, Type: c.SummaryRoute, Table: table}
}

// Covers tells whether a pool holds the address.
func (w Want) Covers(a netip.Addr) bool {
	return slices.ContainsFunc(w.Pools, func(p netip.Prefix) bool { return p.Contains(a) })
}

// routes returns the summaries. A pool of one address has none in the main table, where the route of
// the pod that holds it would be the same.
func (w Want) routes() []rtnl.Route {
	kind := uint8(unix.RTN_BLACKHOLE)
	if w.Type == v1alpha1.SummaryUnreachable {
		kind = unix.RTN_UNREACHABLE
	}
	var routes []rtnl.Route
	for _, p := range w.Pools {
		if !p.IsSingleIP() {
			routes = append(routes, rtnl.Route{Dst: p, Table: unix.RT_TABLE_MAIN, Type: kind, Proto: rtnl.Proto, Metric: rtnl.Metric})
		}
	}
	for _, p := range w.Pools {
		routes = append(routes, rtnl.Route{Dst: p, Table: w.Table, Type: unix.RTN_BLACKHOLE, Proto: rtnl.ProtoAnnounce, Metric: rtnl.Metric})
	}
	return routes
}

// Plan is the difference between what is wanted and what is there: Add and then Delete, in order.
type Plan struct{ Add, Delete []rtnl.Route }

// plan compares. Have holds the summaries of both tables and what the announcement table has of single
// unicast addresses.
func plan(w Want, have []rtnl.Route) Plan {
	var p Plan
	want := w.routes()
	for _, r := range want {
		if !slices.ContainsFunc(have, func(h rtnl.Route) bool { return same(r, h) }) {
			p.Add = append(p.Add, r)
		}
	}
	for _, h := range have {
		switch {
		case h.Type == unix.RTN_UNICAST && w.Covers(h.Dst.Addr()):
			p.Delete = append(p.Delete, h)
		case h.Type != unix.RTN_UNICAST && !slices.ContainsFunc(want, func(r rtnl.Route) bool { return inPlace(r, h) }):
			p.Delete = append(p.Delete, h)
		}
	}
	return p
}

func same(a, b rtnl.Route) bool { return a.Type == b.Type && inPlace(a, b) }

// inPlace tells whether the kernel holds at most one of the two, so that adding one replaces the other.
func inPlace(a, b rtnl.Route) bool {
	return a.Dst == b.Dst && a.Table == b.Table && a.Metric == b.Metric
}

// List returns the summaries that are there, in the main table before the announcement table, and then
// the routes that announce one unicast address each.
func List(c *rtnl.Conn, table uint32) ([]rtnl.Route, error) {
	var all []rtnl.Route
	for _, like := range []rtnl.Route{
		{Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Type: unix.RTN_BLACKHOLE},
		{Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Type: unix.RTN_UNREACHABLE},
		{Table: table, Proto: rtnl.ProtoAnnounce, Type: unix.RTN_BLACKHOLE},
		{Table: table, Proto: rtnl.ProtoAnnounce, Type: unix.RTN_UNREACHABLE},
		{Table: table, Proto: rtnl.ProtoAnnounce, Type: unix.RTN_UNICAST},
	} {
		for _, family := range []int{unix.AF_INET6, unix.AF_INET} {
			routes, err := c.Routes(family, like)
			if err != nil {
				return nil, err
			}
			all = append(all, routes...)
		}
	}
	return slices.DeleteFunc(all, func(r rtnl.Route) bool { return r.Type == unix.RTN_UNICAST && !Unicast(r) }), nil
}

// Unicast tells whether a route announces the address of one pod: anycast ones go through a nexthop
// group or have a metric of their own.
func Unicast(r rtnl.Route) bool {
	return r.Type == unix.RTN_UNICAST && r.Dst.IsSingleIP() && r.Group == 0 && r.Metric == rtnl.Metric
}
