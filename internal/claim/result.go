// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// FromResult returns the link and the addresses that a CNI result names. A result without a host-side
// interface, with one that does not exist, or with an address that no host can route to a container is
// a CNI error.
func FromResult(conn *rtnl.Conn, r *current.Result) (Claim, error) {
	host, err := cni.HostInterface(r)
	if err != nil {
		return Claim{}, err
	}
	c := Claim{Link: host.Name}
	if c.LinkIndex, err = conn.LinkIndex(host.Name); err != nil {
		return Claim{}, cni.Wrap(cni.CodeNoHostInterface, err)
	}
	if c.LinkIndex == 0 {
		return Claim{}, cni.Wrap(cni.CodeNoHostInterface, fmt.Errorf("find the host-side interface: prevResult names %q, and there is none", host.Name))
	}
	if c.Unicast, c.Anycast, err = cni.Addresses(r); err != nil {
		return Claim{}, cni.Wrap(types.ErrInvalidNetworkConfig, err)
	}
	for _, addr := range c.Addresses() {
		if !addr.IsGlobalUnicast() || addr.Zone() != "" {
			return Claim{}, cni.Wrap(types.ErrInvalidNetworkConfig, fmt.Errorf("route address %s of prevResult: it is no address that a route can lead to", addr))
		}
	}
	c.Unicast, c.Anycast = unique(c.Unicast), subtract(unique(c.Anycast), c.Unicast)
	return c, nil
}

// Likely returns the addresses that a result names, which most often are those that its attachment has;
// none of a result that is nil or does not make sense.
func Likely(r *current.Result) []netip.Addr {
	if r == nil {
		return nil
	}
	unicast, anycast, err := cni.Addresses(r)
	if err != nil {
		return nil
	}
	return slices.Concat(unicast, anycast)
}

// unique drops repetitions; the order stays.
func unique(addrs []netip.Addr) []netip.Addr {
	var kept []netip.Addr
	for _, a := range addrs {
		if !slices.Contains(kept, a) {
			kept = append(kept, a)
		}
	}
	return kept
}
