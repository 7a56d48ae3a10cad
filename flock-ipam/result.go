// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// The node's addresses on every pod link.
var (
	gateway6 = netip.MustParseAddr("fe80::1")
	gateway4 = netip.MustParseAddr("169.254.1.1")
)

// grant is what an attachment has.
type grant struct {
	alloc store.Allocation
	// subnets are for the subnet profile, kept as they were when the addresses were allocated: the
	// pools may change under a pod.
	subnets []subnet
}

// subnet is an address with its pool's prefix length, and the pool's gateway.
type subnet struct {
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway"`
}

// granted returns what the attachment has, and whether it has anything.
func granted(tx *store.Tx, a cni.Attachment) (grant, bool, error) {
	alloc, found, err := tx.Get(a)
	if err != nil || !found {
		return grant{}, false, err
	}
	g := grant{alloc: alloc}
	_, err = tx.Note(config.Name, a, &g.subnets)
	return g, true, err
}

// byFamily orders IPv6 before IPv4.
func byFamily(a, b netip.Addr) int { return b.BitLen() - a.BitLen() }

// subnetsOf finds the addresses in the pools.
func subnetsOf(addrs []netip.Addr, pools []pool.Pool) []subnet {
	var subnets []subnet
	for _, addr := range addrs {
		if home, ok := pool.Find(pools, addr); ok {
			subnets = append(subnets, subnet{netip.PrefixFrom(addr, home.Prefix.Bits()), home.Gateway})
		}
	}
	return subnets
}

// result returns the grant in the form that the plugin's place asks for.
func (g grant) result(req *request) (*current.Result, error) {
	// A store that was rebuilt from the kernel has an order of its own.
	slices.SortStableFunc(g.alloc.Addresses, byFamily)
	slices.SortStableFunc(g.alloc.Anycast, byFamily)
	switch {
	case len(g.subnets) > 0:
		return g.subnet(), nil
	case req.Conf.Form == config.OnLink:
		return g.onLink(req.Type != config.FlockVeth), nil
	case req.Conf.Form == config.Originating:
		return g.originating(req.Netns), nil
	}
	// The store was rebuilt from the kernel, which does not know the pools.
	node, err := readNode(req.Conf)
	if err != nil {
		return nil, err
	}
	if g.subnets = subnetsOf(g.alloc.Addresses, node.Pools); len(g.subnets) == len(g.alloc.Addresses) {
		return g.subnet(), nil
	}
	return nil, cni.Wrap(cni.CodeNoPool, fmt.Errorf("find the gateways of attachment %s: not all of its addresses %s lie in a pool",
		req.Attachment, g.alloc.Addresses))
}

// originating returns host routes and the gateways of a pod link. What is anycast belongs to the
// loopback and comes last: kubelet takes the first address of each family for the pod's.
func (g grant) originating(netns string) *current.Result {
	r := &current.Result{CNIVersion: current.ImplementedSpecVersion}
	for _, addr := range g.alloc.Addresses {
		r.IPs = append(r.IPs, &current.IPConfig{Address: cni.IPNet(cni.HostPrefix(addr)), Gateway: gatewayOf(addr).AsSlice()})
	}
	for _, gateway := range g.gateways() {
		r.Routes = append(r.Routes, defaultVia(gateway))
	}
	if len(g.alloc.Anycast) > 0 {
		r.Interfaces = []*current.Interface{{Name: "lo", Sandbox: netns}}
	}
	for _, addr := range g.alloc.Anycast {
		r.IPs = append(r.IPs, &current.IPConfig{Address: cni.IPNet(cni.HostPrefix(addr)), Interface: current.Int(0)})
	}
	return r
}

// onLink returns the addresses without a gateway, because a main plugin that sees one waits for IPv6's
// duplicate address detection. Routes say where the gateways are instead. The reference plugins' CHECK
// looks for a route to each address's own prefix, which for a /32 the kernel does not make: so the main
// plugin is told to.
func (g grant) onLink(reference bool) *current.Result {
	r := &current.Result{CNIVersion: current.ImplementedSpecVersion}
	for _, addr := range g.alloc.Addresses {
		r.IPs = append(r.IPs, &current.IPConfig{Address: cni.IPNet(cni.HostPrefix(addr))})
		if addr.Is4() && reference {
			r.Routes = append(r.Routes, onLinkTo(addr))
		}
	}
	for _, gateway := range g.gateways() {
		r.Routes = append(r.Routes, onLinkTo(gateway), defaultVia(gateway))
	}
	return r
}

func onLinkTo(addr netip.Addr) *types.Route {
	link := unix.RT_SCOPE_LINK
	return &types.Route{Dst: cni.IPNet(cni.HostPrefix(addr)), Scope: &link}
}

// subnet returns what host-local would: the addresses in their subnets. The default routes name their
// gateway, by which bridge's isDefaultGateway sees that it need not add them.
func (g grant) subnet() *current.Result {
	r := &current.Result{CNIVersion: current.ImplementedSpecVersion}
	seen := map[pool.Family]bool{}
	for _, s := range g.subnets {
		r.IPs = append(r.IPs, &current.IPConfig{Address: cni.IPNet(s.Address), Gateway: s.Gateway.AsSlice()})
		if f := pool.FamilyOf(s.Gateway); !seen[f] {
			seen[f] = true
			r.Routes = append(r.Routes, defaultVia(s.Gateway))
		}
	}
	return r
}

// gateways returns the node's address on the pod's link for each family that the attachment has, in order.
func (g grant) gateways() []netip.Addr {
	var gateways []netip.Addr
	for _, addr := range g.alloc.Addresses {
		if gateway := gatewayOf(addr); !slices.Contains(gateways, gateway) {
			gateways = append(gateways, gateway)
		}
	}
	return gateways
}

func gatewayOf(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return gateway4
	}
	return gateway6
}

func defaultVia(gateway netip.Addr) *types.Route {
	everything := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	if gateway.Is4() {
		everything = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return &types.Route{Dst: cni.IPNet(everything), GW: gateway.AsSlice()}
}
