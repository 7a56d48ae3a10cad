// SPDX-License-Identifier: Apache-2.0

// Package rib decides: what is announced, what is taken from a peer, and by which of the ways that peers offer the node
// reaches a prefix. It holds no state and touches nothing.
package rib

import (
	"net/netip"
	"slices"

	"flock.fritzlab.net/flock/plugins/speaker"
)

// Rules are a configuration's rules for prefixes.
type Rules struct {
	summaries, exportAccept []netip.Prefix
	links                   []netip.Addr
}

// NewRules returns the rules of a configuration.
func NewRules(c speaker.Config) Rules {
	r := Rules{summaries: c.Summaries, exportAccept: c.ExportAccept}
	for _, a := range c.Own {
		if !isLinkLocal6(a) && !a.IsLoopback() {
			r.links = append(r.links, a)
		}
	}
	for _, p := range c.Peers {
		if p.Multihop == 0 && p.Address.IsValid() && !isLinkLocal6(p.Address) {
			r.links = append(r.links, p.Address)
		}
	}
	return r
}

// Exports tells whether a route of the announcement table is announced: summaries whole, and single addresses where they
// may be.
func (r Rules) Exports(p netip.Prefix) bool {
	if slices.Contains(r.summaries, p) {
		return true
	}
	return p.IsSingleIP() && contains(r.exportAccept, p.Addr())
}

// Takes tells whether a prefix is taken from the peer: one of addresses that are routed, that the peer may send, and that
// holds neither an address of the node's links nor a peer's on them, the default route apart.
func (r Rules) Takes(peer speaker.Peer, p netip.Prefix) bool {
	if a := p.Addr(); a.IsLoopback() || a.IsMulticast() || isLinkLocal6(a) {
		return false
	}
	if p.Bits() > 0 && slices.ContainsFunc(r.links, p.Contains) {
		return false
	}
	return slices.ContainsFunc(peer.ImportAccept, func(m speaker.PrefixMatch) bool {
		return m.Prefix.Contains(p.Addr()) && p.Bits() >= m.Prefix.Bits() && p.Bits() <= max(m.MaxLength, m.Prefix.Bits())
	})
}

func isLinkLocal6(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

func contains(in []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(in, func(p netip.Prefix) bool { return p.Contains(a) })
}
