// SPDX-License-Identifier: Apache-2.0

package anycast

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/nexthop"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// routeStage is flock-route's name in the store. Its claims say what it routes to an attachment in the main
// table.
const routeStage = "flock-route"

// prefer has the node route the address to an attachment before those whose pods are not ready, or not any
// more. flock-route leads an address to all of the node's pods that have it; a second route of a better
// metric leads to the ready ones. Where none is, or the last one dies, the kernel falls back to the first by
// itself, and connections drain. flock-route's DEL takes the attachment out of both.
func (k *Keeper) prefer(a cni.Attachment, addr netip.Addr, wanted bool) error {
	unlock, err := claim.Lock(k.Store.Dir, []netip.Addr{addr})
	if err != nil {
		return err
	}
	defer unlock()
	c, found, err := k.routes.Get(a)
	if err != nil {
		return err
	}
	if !found || !slices.Contains(c.Anycast, addr) {
		return errGone // or it never came: the chain has no flock-route
	}
	ready := nexthop.Anycast{Conn: k.Conn, Addr: addr, Table: c.Table, Proto: rtnl.Proto, Metric: rtnl.MetricReady, Resilient: true}
	if !wanted {
		return ready.Drop(c.LinkIndex)
	}
	err = ready.Join(c.LinkIndex)
	if err != nil {
		if _, gone := k.Conn.LinkName(c.LinkIndex); errors.Is(gone, unix.ENODEV) {
			return errGone
		}
	}
	return err
}

// preferences are the addresses and the indices of links that the routes to ready pods lead to.
type preferences map[preference]bool

type preference struct {
	addr netip.Addr
	link int
}

func (k *Keeper) preferences() (preferences, error) {
	groups, err := nexthop.Groups(k.Conn)
	if err != nil {
		return nil, err
	}
	routes, err := k.Conn.Routes(unix.AF_UNSPEC, rtnl.Route{Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Type: unix.RTN_UNICAST})
	if err != nil {
		return nil, fmt.Errorf("look for the routes to ready pods: %w", err)
	}
	all := preferences{}
	for _, r := range routes {
		if r.Metric != rtnl.MetricReady || !r.Dst.IsSingleIP() {
			continue
		}
		for _, link := range groups[r.Group] {
			all[preference{r.Dst.Addr(), link}] = true
		}
	}
	return all, nil
}
