// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// checkResult refuses what would make the next reader fall over: containerd crashes when ips[].interface
// equals the number of interfaces.
func checkResult(r *current.Result) error {
	if slices.Contains(r.Interfaces, nil) || slices.Contains(r.IPs, nil) || slices.Contains(r.Routes, nil) {
		return errors.New("an entry is null")
	}
	for i, ip := range r.IPs {
		_, noInterface := owner(r, ip)
		_, noAddress := PrefixOf(ip.Address)
		if err := cmp.Or(noInterface, noAddress); err != nil {
			return fmt.Errorf("ips[%d] %w", i, err)
		}
	}
	return nil
}

// owner returns the interface that an address belongs to, nil if the result does not say. An interface
// that is not there is an error.
func owner(r *current.Result, ip *current.IPConfig) (*current.Interface, error) {
	n := ip.Interface
	if n == nil {
		return nil, nil
	}
	if *n < 0 || *n >= len(r.Interfaces) {
		return nil, fmt.Errorf("names interface %d of %d", *n, len(r.Interfaces))
	}
	return r.Interfaces[*n], nil
}

// HostInterface returns the interface of the result that carries the host's traffic to the container:
// the first one outside the sandbox (ptp and flock-veth name their veth there, bridge its bridge).
// Without one it returns an error of code [CodeNoHostInterface].
func HostInterface(r *current.Result) (*current.Interface, error) {
	for _, i := range r.Interfaces {
		if i.Sandbox == "" {
			return i, nil
		}
	}
	return nil, Wrap(CodeNoHostInterface,
		fmt.Errorf("find the host-side interface: prevResult names none in its %d interfaces", len(r.Interfaces)))
}

// Addresses returns the result's addresses in their order: unicast ones, and anycast ones, which are
// those that the result attributes to an interface "lo". An entry that is no address, or that names an
// interface which is not there, is an error.
func Addresses(r *current.Result) (unicast, anycast []netip.Addr, err error) {
	for _, ip := range r.IPs {
		prefix, err := PrefixOf(ip.Address)
		if err != nil {
			return nil, nil, err
		}
		link, err := owner(r, ip)
		if err != nil {
			return nil, nil, fmt.Errorf("read address %s: it %w", prefix, err)
		}
		if link != nil && link.Name == "lo" {
			anycast = append(anycast, prefix.Addr())
		} else {
			unicast = append(unicast, prefix.Addr())
		}
	}
	return unicast, anycast, nil
}

// PrefixOf converts an address with its mask from the CNI boundary, the host bits kept.
func PrefixOf(n net.IPNet) (netip.Prefix, error) {
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if addr = addr.Unmap(); !ok || bits != addr.BitLen() {
		return netip.Prefix{}, fmt.Errorf("read address %s: not an address with its prefix length", n.String())
	}
	return netip.PrefixFrom(addr, ones), nil
}

// IPNet converts a prefix to what the CNI and netlink packages take, the host bits kept.
func IPNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// HostPrefix returns the /128 or /32 of an address.
func HostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
