// SPDX-License-Identifier: Apache-2.0

// Package speakerconf makes of a NodeConfig what a BGP speaker is told.
package speakerconf

import (
	"net/netip"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// Input is what a speaker's configuration depends on.
type Input struct {
	Config *v1alpha1.Config
	// Table is the kernel table that holds what to announce.
	Table uint32
	// Own are the addresses of the node's links.
	Own []netip.Addr
	// Retired are pools that the node had, whose addresses are announced alone until nobody has them.
	Retired []netip.Prefix
	// Passwords holds the password of each peer that has one; a peer that should and is not in it is left out.
	Passwords map[string]speaker.Password
}

// Make returns the configuration. The same input in any order gives the same.
func Make(in Input) speaker.Config {
	bgp := in.Config.BGP
	if bgp == nil {
		bgp = &v1alpha1.BGPConfig{RouterID: v1alpha1.RouterID(in.Config.Name)}
	}
	accept := slices.Clone(bgp.ExportAccept)
	for _, p := range in.Retired {
		if !inside(p, bgp.ExportAccept) && !inside(p, in.Config.Summaries) {
			accept = append(accept, p)
		}
	}
	c := speaker.Config{
		Node: in.Config.Name, Table: in.Table, LocalASN: bgp.LocalASN, RouterID: bgp.RouterID,
		Summaries: sorted(in.Config.Summaries, netip.Prefix.Compare), ExportAccept: sorted(accept, netip.Prefix.Compare),
	}
	own := slices.DeleteFunc(slices.Clone(in.Own), func(a netip.Addr) bool { return a.IsLinkLocalUnicast() || a.IsLoopback() })
	for _, p := range bgp.Peers {
		secret, readable := in.Passwords[p.Name]
		switch {
		case p.Password == nil:
			c.Peers = append(c.Peers, peer(p, speaker.Password{}))
		case readable:
			c.Peers = append(c.Peers, peer(p, secret))
		case p.Multihop == 0 && p.Address.IsValid():
			own = append(own, p.Address) // it is on a link all the same
		}
	}
	c.Own = sorted(own, netip.Addr.Compare)
	slices.SortFunc(c.Peers, func(a, b speaker.Peer) int { return strings.Compare(a.Name, b.Name) })
	return c
}

// WithoutPeers returns what a speaker is told that is not to speak: there is nobody to announce anything to.
func WithoutPeers(c speaker.Config) speaker.Config {
	c.Peers = nil
	return c
}

func inside(p netip.Prefix, all []netip.Prefix) bool {
	return slices.ContainsFunc(all, func(other netip.Prefix) bool { return other.Bits() <= p.Bits() && other.Contains(p.Addr()) })
}

func sorted[T comparable](in []T, order func(a, b T) int) []T {
	return slices.Compact(slices.SortedFunc(slices.Values(in), order))
}

func peer(p v1alpha1.PeerConfig, secret speaker.Password) speaker.Peer {
	out := speaker.Peer{
		Name: p.Name, Address: p.Address, Interface: p.Interface, LocalAddress: p.LocalAddress, ASN: p.ASN, IPv4: p.IPv4, IPv6: p.IPv6,
		Password: secret, BFD: bfd[p.BFD], HoldTime: p.HoldTime, KeepaliveTime: p.KeepaliveTime, GracefulRestart: p.GracefulRestart,
		Multihop: p.Multihop, LocalPref: p.LocalPref, MED: p.MED, MaxPrefixes: p.MaxPrefixes,
	}
	for _, c := range p.Communities {
		out.Communities = append(out.Communities, c)
	}
	for _, c := range p.LargeCommunities {
		out.LargeCommunities = append(out.LargeCommunities, c)
	}
	for _, m := range p.ImportAccept {
		out.ImportAccept = append(out.ImportAccept, speaker.PrefixMatch(m))
	}
	return out
}

var bfd = map[v1alpha1.BFDMode]speaker.BFD{
	v1alpha1.BFDImmediate: speaker.BFDImmediate, v1alpha1.BFDGraceful: speaker.BFDGraceful,
}
