// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// Addresses returns the addresses of the node's links, those of pods' links apart.
func Addresses(h *netlink.Handle) ([]netip.Addr, error) {
	podLinks, err := podLinks(h)
	if err != nil {
		return nil, err
	}
	addrs, err := rtnl.Dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	var own []netip.Addr
	for _, a := range addrs {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && !podLinks[a.LinkIndex] {
			own = append(own, addr.Unmap())
		}
	}
	return own, nil
}

func podLinks(h *netlink.Handle) (map[int]bool, error) {
	links, err := rtnl.Dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list the node's links: %w", err)
	}
	indexes := map[int]bool{}
	for _, l := range links {
		indexes[l.Attrs().Index] = l.Attrs().Group == rtnl.LinkGroup
	}
	return indexes, nil
}
