// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/nexthop"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// router changes the host's main routing table.
type router struct {
	conn   *rtnl.Conn
	keeper claim.Keeper
	metric uint32
}

func (r *router) close() { r.conn.Close() }

// claim returns what the request's prevResult asks for.
func (r *router) claim(req *cni.Request[config]) (claim.Claim, error) {
	c, err := claim.FromResult(r.conn, req.PrevResult)
	if err != nil {
		return claim.Claim{}, err
	}
	c.Pod, c.Netns, c.Table = req.Pod, req.Netns, unix.RT_TABLE_MAIN
	return c, nil
}

// commit returns what marks the attachment's allocation as committed: every address of it is checked and
// claimed by then, and what is left to do a DEL undoes.
func commit(a cni.Attachment) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.Commit(a, time.Now()) }
}

// install adds the claim's routes that are not there.
func (r *router) install(c claim.Claim) error {
	addrs := c.Addresses()
	present, err := r.conn.Lookup(addrs...)
	if err != nil {
		return err
	}
	var missing []rtnl.Route
	for i, addr := range addrs {
		want := r.route(addr, c.LinkIndex)
		if strangers(present[i], want) {
			return &rtnl.ConflictError{Incumbent: present[i]}
		}
		if i < len(c.Unicast) && present[i] != want {
			missing = append(missing, want)
		}
	}
	if err := r.conn.InstallRoutes(missing...); err != nil {
		return err
	}
	for i, addr := range c.Anycast {
		if err := r.installAnycast(addr, c.LinkIndex, present[len(c.Unicast)+i]); err != nil {
			return err
		}
	}
	return nil
}

// strangers tells whether a route takes the address away from the attachment: it is the address's own,
// flock did not make it, it leads elsewhere, into the host itself for example, and the attachment's would not
// win over it.
func strangers(present, want rtnl.Route) bool {
	return present.Dst == want.Dst && present.Proto != want.Proto && (present.Link != want.Link || present.Type != want.Type) && !wins(want, present)
}

// wins tells whether the kernel prefers a route of the main table to the one that it takes now: so a pod wins
// over the way to another node that has the address too, or had it. The host's own addresses come first
// whatever their metric, and the kernel tells the table of an IPv6 route alone.
func wins(want, present rtnl.Route) bool {
	return present.Table == want.Table && present.Type != unix.RTN_LOCAL && want.Metric < present.Metric
}

func (r *router) installAnycast(addr netip.Addr, link int, present rtnl.Route) error {
	if present.Group == 0 && present.Dst == cni.HostPrefix(addr) && present.Proto == rtnl.Proto {
		// The address was some pod's own until that died.
		if _, err := r.conn.DeleteRoutes(present); err != nil {
			return err
		}
	}
	return r.anycast(addr).Join(link)
}

func (r *router) route(addr netip.Addr, link int) rtnl.Route {
	return rtnl.Route{Dst: cni.HostPrefix(addr), Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST, Proto: rtnl.Proto, Metric: r.metric, Link: link}
}

func (r *router) anycast(addr netip.Addr) nexthop.Anycast {
	return nexthop.Anycast{Conn: r.conn, Addr: addr, Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Metric: r.metric}
}

// remove takes the claim's routes away, whatever their metric.
func (r *router) remove(c claim.Claim) error {
	var routes []rtnl.Route
	for _, addr := range c.Unicast {
		routes = append(routes, rtnl.Route{Dst: cni.HostPrefix(addr), Table: c.Table, Proto: rtnl.Proto, Link: c.LinkIndex})
	}
	if _, err := r.conn.DeleteRoutes(routes...); err != nil {
		return err
	}
	if c.LinkIndex == 0 {
		return nil // no link, no anycast route
	}
	for _, addr := range c.Anycast {
		if err := r.anycast(addr).Leave(c.LinkIndex); err != nil {
			return err
		}
	}
	return nil
}

// guess returns what a DEL without a claim may have to undo: the store was lost, or ADD never came here.
// It is the addresses of prevResult, or those that flock-ipam allocated.
func (r *router) guess(tx *store.Tx, req *cni.Request[config]) (claim.Claim, error) {
	if req.PrevResult != nil {
		// A result that names no link of this host asks for nothing: a route dies with its link.
		if c, err := r.claim(req); err == nil {
			return c, nil
		}
	}
	alloc, _, err := tx.Get(req.Attachment)
	if err != nil {
		return claim.Claim{}, err
	}
	c := claim.Claim{Table: unix.RT_TABLE_MAIN, Unicast: alloc.Addresses, Anycast: alloc.Anycast}
	c.Link = rtnl.HostName(req.Attachment.ContainerID, req.Attachment.IfName)
	c.LinkIndex, err = r.conn.LinkIndex(c.Link)
	return c, err
}
