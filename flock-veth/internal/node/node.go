// SPDX-License-Identifier: Apache-2.0

// Package node is about the node that pods are attached to: which MTU their links take from its uplink,
// and that it forwards packets.
package node

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-veth/internal/sysctl"
	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// The bounds of a link's MTU: IPv6 needs the one, and a veth takes no more than the other. DefaultMTU is
// for a node without a default route.
const (
	MinMTU     = 1280
	MaxMTU     = 65535
	DefaultMTU = 1500
)

// Families tells which address families an attachment has.
type Families struct{ IPv4, IPv6 bool }

// far is an address of each family that only a default route, or what stands for one, leads to.
var far = []netip.Addr{netip.MustParseAddr("2000::"), netip.MustParseAddr("128.0.0.0")}

// Prepare makes the node forward the families' packets and returns the MTU for an attachment's link: mtu
// if it is not 0, else the smaller one of the links that the node's default routes go through.
func Prepare(c *rtnl.Conn, want Families, mtu int) (int, error) {
	var reqs []*rtnl.Request
	if want.IPv4 {
		reqs = append(reqs, wire.Forwards(unix.AF_INET))
	}
	if want.IPv6 {
		reqs = append(reqs, wire.Forwards(unix.AF_INET6))
	}
	questions := len(reqs)
	if mtu == 0 {
		reqs = append(reqs, rtnl.RouteTo(far[0]), rtnl.RouteTo(far[1]))
	}
	answers, err := c.Ask(reqs...)
	if err != nil {
		return 0, err
	}
	if want.IPv4 {
		if err := forward4(answers[0]); err != nil {
			return 0, err
		}
	}
	if want.IPv6 {
		if err := forward6(c, answers[questions-1]); err != nil {
			return 0, err
		}
	}
	if mtu != 0 {
		return mtu, nil
	}
	return uplinkMTU(c, answers[questions:]), nil
}

// uplinkMTU takes the route lookups' answers. A family without a route has none, and that is no error.
func uplinkMTU(c *rtnl.Conn, routes []rtnl.Answer) int {
	smallest := 0
	for _, route := range routes {
		if route.Err != nil {
			continue
		}
		for _, index := range wire.OutIndices(route.Data) {
			if mtu, err := c.LinkMTU(index); err == nil && (smallest == 0 || mtu < smallest) {
				smallest = mtu
			}
		}
	}
	if smallest == 0 {
		return DefaultMTU
	}
	return min(max(smallest, MinMTU), MaxMTU)
}

func forward4(answer rtnl.Answer) error {
	if answer.Err != nil {
		return answer.Err
	}
	if wire.Forwarding(answer.Data) {
		return nil
	}
	return sysctl.Ensure("ipv4/ip_forward", "1")
}

func forward6(c *rtnl.Conn, answer rtnl.Answer) error {
	if answer.Err != nil {
		return fmt.Errorf("%w: has the node's kernel IPv6?", answer.Err)
	}
	if wire.Forwarding(answer.Data) {
		return nil
	}
	if err := keepLearning(c); err != nil {
		return err
	}
	return sysctl.Set("ipv6/conf/all/forwarding", "1")
}

// Check returns an error that names the family whose packets the node does not forward.
func Check(c *rtnl.Conn, want Families) error {
	for _, family := range []struct {
		wanted bool
		number uint8
		key    string
	}{{want.IPv4, unix.AF_INET, "ipv4.ip_forward"}, {want.IPv6, unix.AF_INET6, "ipv6.conf.all.forwarding"}} {
		if !family.wanted {
			continue
		}
		answer, err := c.Get(wire.Forwards(family.number))
		if err != nil {
			return err
		}
		if !wire.Forwarding(answer) {
			return fmt.Errorf("the node does not forward packets: net.%s is 0", family.key)
		}
	}
	return nil
}
