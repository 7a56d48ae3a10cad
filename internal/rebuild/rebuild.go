// SPDX-License-Identifier: Apache-2.0

// Package rebuild tells from the kernel alone which attachments there are and which addresses they have,
// for when the store cannot tell any more.
package rebuild

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/nexthop"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Store returns the store of a state folder, which repairs itself from the kernel. Its transactions must
// run on a thread in the host's network namespace.
func Store(dir string) store.Store { return store.Store{Dir: dir, Rebuild: FromKernel} }

// FromKernel returns the attachments whose links are in the calling thread's network namespace, with the
// addresses that flock's routes in the main table lead to these links, in order. Device routes are of
// addresses that the attachment owns, routes through nexthop groups of anycast addresses. An attachment
// without such a route is not finished, and not returned: its addresses are nowhere to be seen.
func FromKernel() ([]store.Allocation, error) {
	links, err := Links()
	if err != nil {
		return nil, fmt.Errorf("rebuild allocations from the kernel: %w", err)
	}
	conn, err := rtnl.Dial()
	if err != nil {
		return nil, fmt.Errorf("rebuild allocations from the kernel: %w", err)
	}
	defer conn.Close()
	found, err := allocations(conn, links)
	if err != nil {
		return nil, fmt.Errorf("rebuild allocations from the kernel: %w", err)
	}
	return found, nil
}

// Links returns the attachments of the links that are flock's in the calling thread's network namespace, by
// the links' indices. The list is whole, or there is an error.
func Links() (map[int]cni.Attachment, error) {
	handle, err := rtnl.Open()
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	list, err := rtnl.Dump(handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	links := map[int]cni.Attachment{}
	for _, link := range list {
		if a, ours := rtnl.ParseAlias(link.Attrs().Alias); ours {
			links[link.Attrs().Index] = a
		}
	}
	return links, nil
}

// collector sorts routes by the attachments of their links.
type collector struct {
	links   map[int]cni.Attachment
	members map[uint32][]int // links of a nexthop group
	found   map[cni.Attachment]store.Allocation
}

func allocations(conn *rtnl.Conn, links map[int]cni.Attachment) ([]store.Allocation, error) {
	members, err := nexthop.Groups(conn)
	if err != nil {
		return nil, err
	}
	c := collector{links: links, members: members, found: map[cni.Attachment]store.Allocation{}}
	routes, err := conn.Routes(unix.AF_UNSPEC, rtnl.Route{Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Type: unix.RTN_UNICAST})
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		c.add(r)
	}
	return c.list(), nil
}

func (c collector) add(r rtnl.Route) {
	if !r.Dst.IsSingleIP() {
		return
	}
	if r.Group == 0 {
		c.learn(r.Link, func(alloc *store.Allocation) { alloc.Addresses = append(alloc.Addresses, r.Dst.Addr()) })
	}
	for _, link := range c.members[r.Group] {
		c.learn(link, func(alloc *store.Allocation) { alloc.Anycast = append(alloc.Anycast, r.Dst.Addr()) })
	}
}

// learn adds to what is known of a link's attachment. A link that is not flock's has none.
func (c collector) learn(link int, change func(*store.Allocation)) {
	a, ours := c.links[link]
	if !ours {
		return
	}
	alloc := c.found[a]
	alloc.Attachment, alloc.State = a, store.Committed
	change(&alloc)
	c.found[a] = alloc
}

func (c collector) list() []store.Allocation {
	byName := func(a, b store.Allocation) int { return strings.Compare(a.Attachment.String(), b.Attachment.String()) }
	list := slices.SortedFunc(maps.Values(c.found), byName)
	for i, alloc := range list {
		slices.SortFunc(alloc.Addresses, netip.Addr.Compare)
		slices.SortFunc(alloc.Anycast, netip.Addr.Compare)
		list[i].Anycast = slices.Compact(alloc.Anycast) // those of ready pods have a second route
	}
	return list
}
