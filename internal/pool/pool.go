// SPDX-License-Identifier: Apache-2.0

// Package pool reads and checks the address pools of a node. Nothing in it lists a pool's addresses: a
// /8, or a /32 of IPv6, costs what a /30 costs.
package pool

import (
	"net/netip"
	"slices"
)

// Pool is a range of addresses that pods get theirs from, checked by [Parse].
type Pool struct {
	Name   string
	Prefix netip.Prefix
	// Gateway is the node's own address in the pool; zero in a pool of one or two addresses that
	// names none.
	Gateway netip.Addr
	// Aside are the ranges that are never allocated, in order and disjoint: in a pool of more than two
	// addresses the network (IPv6: subnet-router) address, the IPv4 broadcast address and the gateway,
	// and everywhere what the user reserves.
	Aside []Range
	// Allocator picks the pool's addresses; empty leaves it to the family: [Random] for IPv6, [Sequential] for IPv4.
	Allocator string
}

// The allocators that flock-ipam has built in. Every other is an extension of ipamd.
const (
	Random     = "random"
	Sequential = "sequential"
)

// External tells whether an extension picks the pool's addresses.
func (p Pool) External() bool {
	return p.Allocator != "" && p.Allocator != Random && p.Allocator != Sequential
}

// Range is the addresses from First to Last, both included.
type Range struct{ First, Last netip.Addr }

// Contains tells whether the address lies in the range.
func (r Range) Contains(a netip.Addr) bool { return !a.Less(r.First) && !r.Last.Less(a) }

// Family returns the family of the pool's addresses.
func (p Pool) Family() Family { return FamilyOf(p.Prefix.Addr()) }

// Contains tells whether the address lies in the pool, set aside or not.
func (p Pool) Contains(a netip.Addr) bool { return p.Prefix.Contains(a) }

// SetAside tells whether the pool keeps the address back, so that no pod gets it.
func (p Pool) SetAside(a netip.Addr) bool {
	return slices.ContainsFunc(p.Aside, func(r Range) bool { return r.Contains(a) })
}

// Next returns the lowest address of the pool that is not below the given one and not set aside, and
// false when there is none.
func (p Pool) Next(from netip.Addr) (netip.Addr, bool) {
	if first := p.Prefix.Addr(); from.Less(first) {
		from = first
	}
	for _, r := range p.Aside {
		if r.Contains(from) {
			from = r.Last.Next()
		}
	}
	return from, p.Prefix.Contains(from)
}

// Capacity returns how many addresses the pool can give to pods, or the highest uint64 where there are more.
func (p Pool) Capacity() uint64 { return p.CapacityOf(p.Prefix) }

// CapacityOf returns how many addresses of a prefix inside the pool can be given to pods, or the highest
// uint64 where there are more.
func (p Pool) CapacityOf(inside netip.Prefix) uint64 {
	var total uint64
	last := Last(inside)
	from := inside.Masked().Addr()
	for _, r := range p.Aside {
		if r.Last.Less(from) {
			continue
		}
		if last.Less(r.First) {
			break
		}
		if from.Less(r.First) {
			total = addSaturating(total, count(from, r.First.Prev()))
		}
		if from = r.Last.Next(); !inside.Contains(from) {
			return total
		}
	}
	return addSaturating(total, count(from, last))
}

// Find returns the pool that contains the address, and false when none does.
func Find(pools []Pool, a netip.Addr) (Pool, bool) {
	i := slices.IndexFunc(pools, func(p Pool) bool { return p.Contains(a) })
	if i < 0 {
		return Pool{}, false
	}
	return pools[i], true
}
