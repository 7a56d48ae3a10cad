// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// checkResult refuses what would make the next reader fall over: containerd crashes when ips[].interface
// equals the number of interfaces.
func checkResult(r *current.Result) error {
	if err := cmp.Or(noNull("interfaces", r.Interfaces), noNull("ips", r.IPs), noNull("routes", r.Routes)); err != nil {
		return err
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

func noNull[T any](list string, entries []*T) error {
	if i := slices.Index(entries, nil); i >= 0 {
		return fmt.Errorf("%s[%d] is null", list, i)
	}
	return nil
}

// passOn returns the prevResult as it came.
func passOn(in Input) ([]byte, error) {
	if in.prevResultVersion == in.CNIVersion {
		return in.rawPrevResult, nil
	}
	return encode(in.PrevResult, in.CNIVersion) // it came without its version
}

// encode returns a result as JSON of the version.
func encode(r *current.Result, version string) ([]byte, error) {
	if version != "1.0.0" && version != "1.1.0" {
		converted, err := r.GetAsVersion(version)
		if err != nil {
			return nil, Wrap(types.ErrIncompatibleCNIVersion, err)
		}
		return json.Marshal(converted)
	}
	// The same as the library's encoding, which decodes and encodes again to leave out an empty dns.
	plain := struct {
		CNIVersion string               `json:"cniVersion"`
		Interfaces []*current.Interface `json:"interfaces,omitempty"`
		IPs        []*current.IPConfig  `json:"ips,omitempty"`
		Routes     []*types.Route       `json:"routes,omitempty"`
		DNS        *types.DNS           `json:"dns,omitempty"`
	}{version, r.Interfaces, r.IPs, r.Routes, &r.DNS}
	if r.DNS.IsEmpty() {
		plain.DNS = nil
	}
	return json.Marshal(plain)
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
