// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-veth/internal/node"
	"flock.fritzlab.net/flock/flock-veth/internal/pair"
	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/plugins/cni"
)

// place tells which of the pod's interfaces an address of a result is for.
type place int

const (
	onInterface place = iota // the pair's end in the pod
	onLoopback               // the pod's lo: an anycast address
	elsewhere                // another plugin's interface
)

// takeAddresses fills in the addresses of a result that where places on the pair's end and on lo.
func takeAddresses(s *pair.Spec, ips []*current.IPConfig, where func(*current.IPConfig) place) error {
	for _, ip := range ips {
		at := where(ip)
		if at == elsewhere {
			continue
		}
		prefix, err := cni.PrefixOf(ip.Address)
		if err != nil {
			return err
		}
		if addr := prefix.Addr(); addr == pair.Gateway(addr) {
			return fmt.Errorf("take address %s: it is the pod's gateway", addr)
		} else if at == onLoopback {
			s.Anycast = append(s.Anycast, addr)
		} else {
			s.Unicast = append(s.Unicast, addr)
		}
	}
	return checkAddresses(s)
}

func checkAddresses(s *pair.Spec) error {
	if len(s.Unicast) == 0 {
		return errors.New("take the pod's addresses: there is none; put an IPAM plugin before flock-veth, or name one in its ipam section")
	}
	for _, a := range s.Anycast {
		if !has(s.Unicast, a.Is4()) {
			return fmt.Errorf("take anycast address %s: the pod has no unicast address of its family, and so no way back", a)
		}
	}
	return nil
}

func has(addrs []netip.Addr, is4 bool) bool {
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is4() == is4 })
}

func families(s pair.Spec) node.Families {
	return node.Families{IPv4: has(s.Unicast, true), IPv6: has(s.Unicast, false)}
}

// takeRoutes fills in the pod's routes. Those that a result lists for a family are all that the pod gets
// of it, but through flock's gateway, the only neighbour that the pod has; without any it gets a default
// route. Routes of a family that the pod has no address of, and to the gateways, mean nothing here.
func takeRoutes(s *pair.Spec, listed []*types.Route) error {
	for _, given := range listed {
		dst, err := cni.PrefixOf(given.Dst)
		if err != nil {
			return fmt.Errorf("take route: %w", err)
		}
		dst = dst.Masked()
		if !has(s.Unicast, dst.Addr().Is4()) || dst == cni.HostPrefix(pair.Gateway(dst.Addr())) {
			continue
		}
		r := wire.Route{Dst: dst, Metric: given.Priority, MTU: given.MTU, AdvMSS: given.AdvMSS}
		if given.Table != nil && *given.Table != unix.RT_TABLE_MAIN {
			r.Table = *given.Table
		}
		if !slices.Contains(s.Routes, r) {
			s.Routes = append(s.Routes, r)
		}
	}
	for _, zero := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if has(s.Unicast, zero.Is4()) && !slices.ContainsFunc(s.Routes, func(r wire.Route) bool { return r.Dst.Addr().Is4() == zero.Is4() }) {
			s.Routes = append(s.Routes, wire.Route{Dst: netip.PrefixFrom(zero, 0)})
		}
	}
	return nil
}
