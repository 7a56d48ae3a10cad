// SPDX-License-Identifier: Apache-2.0

package rib

import (
	"cmp"
	"net/netip"
	"slices"
)

// Path is a way to a prefix that a router has announced.
type Path struct {
	Prefix netip.Prefix
	// Session is the one that it came by.
	Session string
	// NextHop is the router that packets go to, LinkLocal its address on the link. Either may be missing.
	NextHop, LinkLocal netip.Addr
	// Internal tells of a session with the node's own AS.
	Internal  bool
	LocalPref uint32
	// ASPathLength counts the systems on the way, NeighborAS is the first of them.
	ASPathLength int
	NeighborAS   uint32
	Origin       uint8
	MED          uint32
	// Age is when the router announced it, in seconds.
	Age int64
}

// Best returns those of the paths to one prefix that are as good as any, by the rules of RFC 4271, section 9.1.2.2, as far
// as they do not pick one of equals: traffic is spread over all.
func Best(paths []Path) []Path {
	paths = least(paths, func(p Path) int64 { return -int64(p.LocalPref) })
	paths = least(paths, func(p Path) int64 { return int64(p.ASPathLength) })
	paths = least(paths, func(p Path) int64 { return int64(p.Origin) })
	paths = leastMED(paths)
	return least(paths, func(p Path) int64 {
		if p.Internal {
			return 1
		}
		return 0
	})
}

// least returns the paths of the least cost.
func least(paths []Path, cost func(Path) int64) []Path {
	var best []Path
	for _, p := range paths {
		switch {
		case len(best) == 0 || cost(p) < cost(best[0]):
			best = []Path{p}
		case cost(p) == cost(best[0]):
			best = append(best, p)
		}
	}
	return best
}

// leastMED leaves of the paths through one neighbouring AS those of the least MED, which says nothing about others'.
func leastMED(paths []Path) []Path {
	lowest := map[uint32]uint32{}
	for _, p := range paths {
		if med, ok := lowest[p.NeighborAS]; !ok || p.MED < med {
			lowest[p.NeighborAS] = p.MED
		}
	}
	return slices.DeleteFunc(slices.Clone(paths), func(p Path) bool { return p.MED > lowest[p.NeighborAS] })
}

// Limit returns at most so many of the paths of one session and family: those that were taken before first, then the
// oldest. What exceeds the limit is ignored.
func Limit(paths []Path, most int, before map[netip.Prefix]bool) []Path {
	if len(paths) <= most {
		return paths
	}
	sorted := slices.SortedFunc(slices.Values(paths), func(a, b Path) int {
		return cmp.Or(
			cmp.Compare(rank(before[a.Prefix]), rank(before[b.Prefix])),
			cmp.Compare(a.Age, b.Age),
			a.Prefix.Addr().Compare(b.Prefix.Addr()),
			cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	return sorted[:most]
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}
