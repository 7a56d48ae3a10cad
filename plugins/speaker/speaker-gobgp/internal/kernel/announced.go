// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// Announced is what the announcement table holds.
type Announced struct {
	conn   *rtnl.Conn
	table  uint32
	routes map[route]bool
	count  map[netip.Prefix]int // of the routes to a prefix
}

// route names one route of the table.
type route struct {
	dst    netip.Prefix
	metric uint32
}

// NewAnnounced returns an announcement table that has not been read yet.
func NewAnnounced(conn *rtnl.Conn, table uint32) *Announced {
	return &Announced{conn: conn, table: table, routes: map[route]bool{}, count: map[netip.Prefix]int{}}
}

// Has tells whether there is a route to the prefix.
func (a *Announced) Has(p netip.Prefix) bool { return a.count[p] > 0 }

// Prefixes returns the prefixes that there are routes to, in no order.
func (a *Announced) Prefixes() []netip.Prefix {
	list := make([]netip.Prefix, 0, len(a.count))
	for p := range a.count {
		list = append(list, p)
	}
	return list
}

// Read reads the whole table and returns the prefixes that may have come or gone since.
func (a *Announced) Read() ([]netip.Prefix, error) {
	found := map[route]bool{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := a.conn.Routes(family, rtnl.Route{Table: a.table, Proto: rtnl.ProtoAnnounce})
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			found[route{r.Dst, r.Metric}] = true
		}
	}
	var changed []netip.Prefix
	for r := range a.routes {
		if !found[r] {
			changed = a.change(changed, r, false)
		}
	}
	for r := range found {
		changed = a.change(changed, r, true)
	}
	return changed, nil
}

// take takes in what the kernel tells of a route, and returns the prefix if it has come or gone.
func (a *Announced) take(r rtnl.Route, there bool) []netip.Prefix {
	if r.Table != a.table || r.Proto != rtnl.ProtoAnnounce {
		return nil
	}
	return a.change(nil, route{r.Dst, r.Metric}, there)
}

func (a *Announced) change(changed []netip.Prefix, r route, there bool) []netip.Prefix {
	if a.routes[r] == there {
		return changed
	}
	had := a.Has(r.dst)
	if there {
		a.routes[r] = true
		a.count[r.dst]++
	} else {
		delete(a.routes, r)
		if a.count[r.dst]--; a.count[r.dst] == 0 {
			delete(a.count, r.dst)
		}
	}
	if had == a.Has(r.dst) {
		return changed
	}
	return append(changed, r.dst)
}

// Of tells whether the table is the one of that number.
func (a *Announced) Of(table uint32) bool { return a.table == table }
