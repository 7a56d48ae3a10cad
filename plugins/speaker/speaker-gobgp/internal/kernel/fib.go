// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Proto and Metric mark the routes that the speaker installs in the main table: the protocol is "bgp" for ip(8), and the
// metric BIRD's, which is above that of flock's own routes.
const (
	Proto  netlink.RouteProtocol = unix.RTPROT_BGP
	Metric                       = 32
)

// maxHops is how many next hops a route has at most, as with BIRD.
const maxHops = 16

// Hop is one next hop on a link.
type Hop struct {
	Gateway netip.Addr
	Link    int
}

func compareHops(a, b Hop) int {
	return cmp.Or(a.Gateway.Compare(b.Gateway), cmp.Compare(a.Link, b.Link))
}

// Sorted returns the hops in an order, each once, no more than a route may have.
func Sorted(hops []Hop) []Hop {
	slices.SortFunc(hops, compareHops)
	hops = slices.Compact(hops)
	return hops[:min(len(hops), maxHops)]
}

// FIB is what the speaker has installed in the main table.
type FIB struct{ handle *netlink.Handle }

// OpenFIB opens the main table of the calling thread's network namespace.
func OpenFIB() (*FIB, error) {
	h, err := rtnl.Open()
	if err != nil {
		return nil, err
	}
	return &FIB{h}, nil
}

// Close closes the table and leaves the routes.
func (f *FIB) Close() { f.handle.Close() }

// Installed returns the speaker's routes that are in the table now, by whichever process of it.
func (f *FIB) Installed() (map[netip.Prefix][]Hop, error) {
	installed := map[netip.Prefix][]Hop{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		like := &netlink.Route{Table: unix.RT_TABLE_MAIN, Protocol: Proto}
		routes, err := rtnl.Dump(func() ([]netlink.Route, error) {
			return f.handle.RouteListFiltered(family, like, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		})
		if err != nil {
			return nil, fmt.Errorf("list the routes by BGP: %w", err)
		}
		for _, r := range routes {
			if r.Priority == Metric {
				dst := destination(r, family)
				installed[dst] = append(installed[dst], hops(r)...)
			}
		}
	}
	for dst := range installed {
		slices.SortFunc(installed[dst], compareHops)
	}
	return installed, nil
}

func destination(r netlink.Route, family int) netip.Prefix {
	if r.Dst == nil {
		return netip.PrefixFrom(rtnl.Unspecified(uint8(family)), 0)
	}
	addr, _ := netip.AddrFromSlice(r.Dst.IP)
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits)
}

func hops(r netlink.Route) []Hop {
	if len(r.MultiPath) == 0 {
		return []Hop{{gateway(r.Gw, r.Via), r.LinkIndex}}
	}
	var list []Hop
	for _, n := range r.MultiPath {
		list = append(list, Hop{gateway(n.Gw, n.Via), n.LinkIndex})
	}
	return list
}

func gateway(gw net.IP, via netlink.Destination) netip.Addr {
	if v, ok := via.(*netlink.Via); ok && v != nil {
		gw = v.Addr
	}
	addr, _ := netip.AddrFromSlice(gw)
	return addr.Unmap()
}

// Apply makes the speaker's routes in the table be exactly these, each by all its hops, which are sorted. It goes on after
// a route that the kernel refuses, and the error names them all; a route of another protocol, with the speaker's metric,
// stays, and is in the way of the speaker's.
func (f *FIB) Apply(want map[netip.Prefix][]Hop) error {
	have, err := f.Installed()
	if err != nil {
		return err
	}
	var errs []error
	for dst, hops := range want {
		switch old, there := have[dst]; {
		case !there:
			err = f.handle.RouteAdd(newRoute(dst, hops))
		case !slices.Equal(old, hops):
			err = f.handle.RouteReplace(newRoute(dst, hops))
		default:
			continue
		}
		if errors.Is(err, unix.EEXIST) {
			err = errors.New("another protocol's route with metric 32 is in the way: delete it, or give it another metric")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("install route %s: %w", dst, err))
		}
	}
	for dst := range have {
		if _, wanted := want[dst]; !wanted {
			if err := f.remove(dst); err != nil {
				errs = append(errs, fmt.Errorf("remove route %s: %w", dst, err))
			}
		}
	}
	return errors.Join(errs...)
}

// remove removes every hop; for IPv6 the kernel may take one message for each.
func (f *FIB) remove(dst netip.Prefix) error {
	ipnet := cni.IPNet(dst)
	for range maxHops + 1 {
		err := f.handle.RouteDel(&netlink.Route{Dst: &ipnet, Table: unix.RT_TABLE_MAIN, Protocol: Proto, Priority: Metric})
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newRoute(dst netip.Prefix, hops []Hop) *netlink.Route {
	ipnet := cni.IPNet(dst)
	r := &netlink.Route{Dst: &ipnet, Table: unix.RT_TABLE_MAIN, Protocol: Proto, Priority: Metric, Type: unix.RTN_UNICAST}
	for _, h := range hops {
		n := &netlink.NexthopInfo{LinkIndex: h.Link}
		if h.Gateway.Is4() == dst.Addr().Is4() {
			n.Gw = h.Gateway.AsSlice()
		} else { // RFC 8950
			n.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: h.Gateway.AsSlice()}
		}
		r.MultiPath = append(r.MultiPath, n)
	}
	if len(hops) == 1 {
		r.LinkIndex, r.Gw, r.Via, r.MultiPath = hops[0].Link, r.MultiPath[0].Gw, r.MultiPath[0].Via, nil
	}
	return r
}
