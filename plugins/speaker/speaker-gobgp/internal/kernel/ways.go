// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// Ways tells by which links the node reaches routers: a picture of the kernel's links and routes.
type Ways struct {
	links  map[string]int
	onLink []way
	routes []way
	// cut are those over links that are down or without carrier.
	cut *Ways
}

// way leads to a prefix: directly on a link, or by a gateway.
type way struct {
	to     netip.Prefix
	hop    Hop
	metric int
}

// carrier is what the flags of a link have that can be sent over, as with BIRD: of one whose cable is out the kernel keeps
// addresses and routes.
const carrier = unix.IFF_UP | unix.IFF_LOWER_UP

// Ways reads the links that have a carrier and their prefixes, and, where next hops of multihop peers are to be resolved, the
// main table's routes by others than the speaker.
func (f *FIB) Ways(routes bool) (*Ways, error) {
	links, err := rtnl.Dump(f.handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list the links: %w", err)
	}
	addrs, err := rtnl.Dump(func() ([]netlink.Addr, error) { return f.handle.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	w := &Ways{links: map[string]int{}, cut: &Ways{links: map[string]int{}}}
	of := map[int]*Ways{}
	for _, l := range links {
		at := l.Attrs()
		if of[at.Index] = w; at.RawFlags&carrier != carrier {
			of[at.Index] = w.cut
		}
		of[at.Index].links[at.Name] = at.Index
	}
	for _, a := range addrs {
		if ways := of[a.LinkIndex]; ways != nil {
			ways.add(a)
		}
	}
	if routes {
		err = w.read(f.handle, func(h Hop) bool { return of[h.Link] == w })
	}
	return w, err
}

// add takes an address of a link in; an address with a peer is on the link with that.
func (w *Ways) add(a netlink.Addr) {
	at := a.IPNet
	if a.Peer != nil {
		at = a.Peer
	}
	addr, ok := netip.AddrFromSlice(at.IP)
	bits, _ := at.Mask.Size()
	if addr = addr.Unmap(); ok && !needsLink(addr) {
		w.onLink = append(w.onLink, way{to: netip.PrefixFrom(addr, bits).Masked(), hop: Hop{Link: a.LinkIndex}})
	}
}

// read takes the main table's routes in, each by any of the hops that can be used.
func (w *Ways) read(h *netlink.Handle, usable func(Hop) bool) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := rtnl.Dump(func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return fmt.Errorf("list the main table: %w", err)
		}
		for _, r := range routes {
			if r.Protocol == Proto || r.Protocol == rtnl.Proto || r.Type != unix.RTN_UNICAST {
				continue
			}
			if all := hops(r); slices.ContainsFunc(all, usable) {
				w.routes = append(w.routes, way{destination(r, family), all[slices.IndexFunc(all, usable)], r.Priority})
			}
		}
	}
	return nil
}

// Direct returns the way to a router on a link of the node's, if there is one: to its address in a prefix of the link of
// that name, of any where the name is empty, or to its link-local address on the link.
func (w *Ways) Direct(router netip.Addr, link string) (Hop, bool) {
	if needsLink(router) {
		index, ok := w.links[link]
		return Hop{router.WithZone(""), index}, ok
	}
	ways := w.onLink
	if link != "" {
		ways = slices.DeleteFunc(slices.Clone(ways), func(on way) bool { return on.hop.Link != w.links[link] })
	}
	found, ok := longest(ways, router)
	return Hop{router, found.hop.Link}, ok
}

// Cut tells whether the router is on a link of the node's that is down or without carrier, and on no other.
func (w *Ways) Cut(router netip.Addr, link string) bool {
	_, reached := w.Direct(router, link)
	_, cut := w.cut.Direct(router, link)
	return cut && !reached
}

// Far returns the first hop on the way to a router that need not be on a link, if there is one that BGP has not brought.
func (w *Ways) Far(router netip.Addr) (Hop, bool) {
	if needsLink(router) {
		return Hop{}, false
	}
	if hop, ok := w.Direct(router, ""); ok {
		return hop, true
	}
	found, ok := longest(w.routes, router)
	if ok && !found.hop.Gateway.IsValid() {
		found.hop.Gateway = router
	}
	return found.hop, ok
}

// needsLink tells whether an address says nothing without its link. One in 169.254.0.0/16 does, by its link's prefix.
func needsLink(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// longest returns the way of the longest prefix, and of those the one of the least metric.
func longest(ways []way, to netip.Addr) (best way, ok bool) {
	for _, w := range ways {
		if !w.to.Contains(to) {
			continue
		}
		if !ok || w.to.Bits() > best.to.Bits() || w.to.Bits() == best.to.Bits() && w.metric < best.metric {
			best, ok = w, true
		}
	}
	return best, ok
}
