// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// Addresses returns the addresses of the links that lead to the node's neighbours: not those of pods' links, nor of the
// loopback and dummy links that hold a router's or a Service's address.
func Addresses(h *netlink.Handle) ([]netip.Addr, error) {
	links, err := rtnl.Dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list the node's links: %w", err)
	}
	addrs, err := rtnl.Dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	apart := map[int]bool{}
	for _, l := range links {
		apart[l.Attrs().Index] = !hasNeighbours(l)
	}
	var own []netip.Addr
	for _, a := range addrs {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && !apart[a.LinkIndex] {
			own = append(own, addr.Unmap())
		}
	}
	return own, nil
}

func hasNeighbours(l netlink.Link) bool {
	return l.Attrs().Group != rtnl.LinkGroup && l.Attrs().Flags&net.FlagLoopback == 0 && l.Type() != "dummy"
}
