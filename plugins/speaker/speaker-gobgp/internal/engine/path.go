// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/rib"
)

// defaultLocalPref is the preference of a path that comes without one, as with BIRD.
const defaultLocalPref = 100

// path returns what GoBGP knows of a router's announcement; there is none of what has come round.
func (e *Engine) path(n Neighbor, in *apiutil.Path) (rib.Path, bool) {
	prefix, ok := prefixOf(in.Nlri)
	out := rib.Path{
		Prefix: prefix, Session: n.Address.String(), Internal: n.Peer.ASN == e.ASN, NeighborAS: n.Peer.ASN,
		LocalPref: defaultLocalPref, Age: in.Age,
	}
	for _, a := range in.Attrs {
		switch a := a.(type) {
		case *bgp.PathAttributeAsPath:
			ok = ok && e.takeASPath(&out, a)
		case *bgp.PathAttributeOriginatorId:
			ok = ok && a.Value != e.RouterID
		default:
			take(&out, a)
		}
	}
	setLinkLocal(&out, n.Address)
	return out, ok
}

// setLinkLocal parts the next hop's addresses. GoBGP drops the link-local one that comes beside a global one, or in place
// of it: it is the router's own, as it is the next hop for all that it announces on the link.
func setLinkLocal(p *rib.Path, router netip.Addr) {
	switch {
	case p.NextHop.Is6() && p.NextHop.IsLinkLocalUnicast():
		p.NextHop, p.LinkLocal = netip.Addr{}, p.NextHop
	case router.Is6() && router.IsLinkLocalUnicast():
		p.LinkLocal = router.WithZone("")
	}
	if p.NextHop.IsUnspecified() {
		p.NextHop = netip.Addr{}
	}
}

// take takes in what one attribute says.
func take(out *rib.Path, a bgp.PathAttributeInterface) {
	switch a := a.(type) {
	case *bgp.PathAttributeNextHop:
		out.NextHop = a.Value
	case *bgp.PathAttributeMpReachNLRI:
		out.NextHop = a.Nexthop
	case *bgp.PathAttributeOrigin:
		out.Origin = a.Value
	case *bgp.PathAttributeMultiExitDisc:
		out.MED = a.Value
	case *bgp.PathAttributeLocalPref:
		if out.Internal {
			out.LocalPref = a.Value
		}
	}
}

// takeASPath tells whether the path has not been through the node's own AS.
func (e *Engine) takeASPath(out *rib.Path, a *bgp.PathAttributeAsPath) bool {
	for i, segment := range a.Value {
		if slices.Contains(segment.GetAS(), e.ASN) {
			return false
		}
		out.ASPathLength += segment.ASLen()
		if as := segment.GetAS(); i == 0 && len(as) > 0 {
			out.NeighborAS = as[0]
		}
	}
	return true
}
