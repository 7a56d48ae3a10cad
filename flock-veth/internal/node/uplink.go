// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"

	"flock.fritzlab.net/flock/flock-veth/internal/sysctl"
	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// keepLearning lets the uplinks that live by router advertisements go on doing so: a link that forwards
// heeds them only with an accept_ra of 2, and would lose its default route and address otherwise.
func keepLearning(c *rtnl.Conn) error {
	links, err := learningLinks(c)
	if err != nil {
		return err
	}
	for index := range links {
		name, err := c.LinkName(index)
		if err != nil {
			continue // gone meanwhile
		}
		if err := sysctl.Replace(sysctl.Link(name, "accept_ra"), "1", "2"); err != nil {
			return fmt.Errorf("keep the router advertisements of %s: %w", name, err)
		}
	}
	return nil
}

// learningLinks returns the indices of the links that have a route from a router advertisement, or an
// address with a lifetime. One of the latter may be DHCP's, which does no harm: accept_ra of 2 keeps
// what 1 was before the node forwarded.
func learningLinks(c *rtnl.Conn) (map[int]bool, error) {
	links := map[int]bool{}
	routes, err := c.Dump(wire.ListLearned())
	if err != nil {
		return nil, err
	}
	for _, route := range routes {
		for _, index := range wire.OutIndices(route) {
			links[index] = true
		}
	}
	addrs, err := c.Dump(wire.ListAddrs(wire.Dev{}))
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if index := wire.DynamicAddr(addr); index != 0 {
			links[index] = true
		}
	}
	return links, nil
}
