// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"math"
	"net/netip"
)

// The columns of "kubectl get nodeconfigs" that are counts: the API server prints fields, and adds up nothing.

// Sessions returns status.sessions for the peers: "1/2" where one of two is established, empty for no peers.
func Sessions(peers []PeerStatus) string {
	if len(peers) == 0 {
		return ""
	}
	up := 0
	for _, p := range peers {
		if p.State == PeerEstablished {
			up++
		}
	}
	return fmt.Sprintf("%d/%d", up, len(peers))
}

// Usage returns status.ipv6 and status.ipv4 for the pools: allocated addresses, and how many there are
// to allocate: "12/253", as a power of two where they are more than a million: "12/2^64". It is empty
// for a family without a pool.
func Usage(pools []PoolStatus) (ipv6, ipv4 string) {
	var six, four []PoolStatus
	for _, p := range pools {
		prefix, err := netip.ParsePrefix(p.CIDR)
		switch {
		case err != nil:
		case prefix.Addr().Is4():
			four = append(four, p)
		default:
			six = append(six, p)
		}
	}
	return usage(six), usage(four)
}

func usage(pools []PoolStatus) string {
	if len(pools) == 0 {
		return ""
	}
	var allocated int64
	var all float64
	for _, p := range pools {
		allocated += p.Allocated
		all += size(p)
	}
	if all <= 1e6 {
		return fmt.Sprintf("%d/%.0f", allocated, all)
	}
	return fmt.Sprintf("%d/2^%.0f", allocated, math.Floor(math.Log2(all)))
}

// size returns how many addresses a pool has, from its length where the counts are no more exact.
func size(p PoolStatus) float64 {
	if p.Free < 1<<62 {
		return float64(p.Allocated) + float64(p.Cooling) + float64(p.Free)
	}
	prefix := netip.MustParsePrefix(p.CIDR)
	return math.Exp2(float64(prefix.Addr().BitLen() - prefix.Bits()))
}
