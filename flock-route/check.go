// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

func check(_ context.Context, req *cni.Request[config]) error {
	result, err := req.RequirePrevResult(stage)
	if err != nil || len(result.IPs) == 0 {
		return err
	}
	r, err := newRouter(req.Conf)
	if err != nil {
		return err
	}
	defer r.close()
	wanted, err := r.claim(req)
	if err != nil {
		return err
	}
	if err := r.checkStore(req.Attachment, wanted); err != nil {
		return err
	}
	return r.checkRoutes(wanted)
}

// checkStore looks for the claim and the committed allocation.
func (r *router) checkStore(a cni.Attachment, wanted claim.Claim) error {
	have, found, err := r.keeper.Get(a)
	if err != nil {
		return cni.Wrap(claim.Code(err), err)
	}
	if !found {
		return differs("attachment %s is not in the store", a)
	}
	if err := have.Differs(wanted); err != nil {
		return differs("%w", err)
	}
	var alloc store.Allocation
	err = r.keeper.Store.View(func(tx *store.Tx) (err error) {
		alloc, found, err = tx.Get(a)
		return err
	})
	if err != nil {
		return cni.Wrap(cni.CodeStoreUnreadable, fmt.Errorf("look up the allocation of attachment %s: %w", a, err))
	}
	if found && alloc.State != store.Committed {
		return differs("the allocation of attachment %s is %s, not committed", a, alloc.State)
	}
	return nil
}

// checkRoutes looks for a route to the link for each address.
func (r *router) checkRoutes(c claim.Claim) error {
	routes, err := r.conn.Routes(unix.AF_UNSPEC, rtnl.Route{Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Link: c.LinkIndex})
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	for _, addr := range c.Unicast {
		if !slices.Contains(routes, r.route(addr, c.LinkIndex)) {
			return differs("the route of %s to link %s is missing", addr, c.Link)
		}
	}
	for _, addr := range c.Anycast {
		if !slices.ContainsFunc(routes, func(found rtnl.Route) bool { return sharedBy(found, addr) }) {
			return differs("the route of anycast address %s to link %s is missing", addr, c.Link)
		}
	}
	return nil
}

// sharedBy tells whether the route leads the address to a group of links.
func sharedBy(r rtnl.Route, addr netip.Addr) bool {
	return r.Group != 0 && r.Dst == cni.HostPrefix(addr)
}

func differs(format string, args ...any) error {
	return cni.Wrap(cni.CodeCheckMismatch, fmt.Errorf("check: "+format, args...))
}
