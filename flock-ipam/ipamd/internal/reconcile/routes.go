// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Routes is where flock's routes lead.
type Routes struct {
	// Attached are the addresses that are routed to flock's links.
	Attached []store.Allocation
	// Leads has every address with the index of every link that it is routed to in any table, and with
	// 0 where that is more than one.
	Leads map[netip.Addr][]int
	// Linked are the attachments that have a link of flock's.
	Linked map[cni.Attachment]bool
	// Host tells whether the kernel has a route for this one address, whoever made it.
	Host func(netip.Addr) (bool, error)
}

// KernelRoutes reads the routes of the network namespace of this process.
func KernelRoutes() (Routes, error) {
	attached, err := rebuild.FromKernel()
	if err != nil {
		return Routes{}, err
	}
	links, err := rebuild.Links()
	if err != nil {
		return Routes{}, err
	}
	conn, err := rtnl.Dial()
	if err != nil {
		return Routes{}, err
	}
	defer conn.Close()
	r := Routes{Attached: attached, Leads: map[netip.Addr][]int{}, Linked: map[cni.Attachment]bool{}, Host: HostRoute}
	for _, a := range links {
		r.Linked[a] = true
	}
	for _, family := range []int{unix.AF_INET6, unix.AF_INET} {
		for _, like := range []rtnl.Route{{Proto: rtnl.Proto}, {Proto: rtnl.ProtoAnnounce}} {
			routes, err := conn.Routes(family, like)
			if err != nil {
				return Routes{}, err
			}
			for _, route := range routes {
				if route.Dst.IsSingleIP() {
					r.Leads[route.Dst.Addr()] = append(r.Leads[route.Dst.Addr()], route.Link)
				}
			}
		}
	}
	return r, nil
}

// HostRoute asks the kernel whether it has a route for this one address, whoever made it.
func HostRoute(addr netip.Addr) (bool, error) {
	handle, err := rtnl.Open()
	if err != nil {
		return false, err
	}
	defer handle.Close()
	found, err := handle.RouteGetWithOptions(addr.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EACCES):
		return false, nil // none, or one that refuses: unreachable, blackhole, prohibit
	case err != nil:
		return false, fmt.Errorf("look up the route to %s: %w", addr, err)
	}
	return slices.ContainsFunc(found, func(route netlink.Route) bool {
		if route.Dst == nil {
			return false
		}
		ones, all := route.Dst.Mask.Size()
		return ones == all
	}), nil
}

// lead tells whether any address of the claim is still routed to its link.
func (r Routes) lead(c claim.Claim) bool {
	return slices.ContainsFunc(c.Addresses(), func(a netip.Addr) bool {
		return slices.ContainsFunc(r.Leads[a], func(link int) bool {
			return link == c.LinkIndex || link == 0 || c.LinkIndex == 0
		})
	})
}

// stray is an address of a pool that is routed to an attachment and not allocated to it.
type stray struct {
	address    netip.Addr
	attachment cni.Attachment
}

// adopt takes addresses into the store that are in use and not in it: nobody else may get them. It returns
// how many that were.
func (r *Reconciler) adopt(b books, routes Routes, pools []pool.Pool) (count int, problems error) {
	var strays []stray
	for _, shown := range routes.Attached {
		known := b.allocations[shown.Attachment].Addresses
		for _, addr := range shown.Addresses {
			_, pooled := pool.Find(pools, addr)
			s := stray{addr, shown.Attachment}
			if pooled && !slices.Contains(known, addr) && r.memory.again(s) {
				strays = append(strays, s)
			}
		}
	}
	for _, s := range strays {
		err := r.Store.Update(s.adopt)
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("allocate %s, which is in use, to attachment %s: %w", s.address, s.attachment, err))
			continue
		}
		count++
		r.Log.Warn("allocated what is in use", "attachment", s.attachment.String(), "address", s.address)
	}
	return count, problems
}

func (s stray) adopt(tx *store.Tx) error {
	alloc, found, err := tx.Get(s.attachment)
	if err != nil {
		return err
	}
	if !found {
		alloc = store.Allocation{Attachment: s.attachment, State: store.Committed}
	}
	if !slices.Contains(alloc.Addresses, s.address) {
		alloc.Addresses = append(alloc.Addresses, s.address)
	}
	return tx.Put(alloc)
}
