// SPDX-License-Identifier: Apache-2.0

// Package usage counts how the node's pools are used.
package usage

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Usage is what the store says of one moment.
type Usage struct {
	// Pools are in the node's order.
	Pools []Pool
	// Outside are the addresses that lie in no pool, in order: those that their pods ask for by
	// annotation, and those whose pool is gone.
	Outside []Stray
	// Attachments counts by state.
	Attachments map[store.State]int
}

// Pool counts the addresses of one pool.
type Pool struct {
	pool.Pool
	Pending, Committed int
	// Cooling addresses were released less than the cool-down ago.
	Cooling int
	// Free addresses could be given out now, those that cool not among them; the highest uint64 where there
	// are more.
	Free uint64
}

// Stray is an address of a pod that lies in no pool.
type Stray struct {
	Address netip.Addr
	Pod     cni.Pod
}

// Full tells whether the pool has nothing to give, not even what is cooling.
func (p Pool) Full() bool { return p.Free == 0 && p.Cooling == 0 }

// Count reads the store at a time since boot.
func Count(tx *store.Tx, node nodefile.Node, now time.Duration) (Usage, error) {
	c := counter{node: node, Usage: Usage{Attachments: map[store.State]int{}}, taken: make([]uint64, len(node.Pools))}
	for _, p := range node.Pools {
		c.Pools = append(c.Pools, Pool{Pool: p})
	}
	if err := tx.All(func(alloc store.Allocation) error { c.allocation(alloc); return nil }); err != nil {
		return Usage{}, err
	}
	err := tx.Released(func(addr netip.Addr, at time.Duration) bool {
		if (store.Holder{Released: at}).Cooling(now, node.CoolDown) {
			c.cooling(addr)
		}
		return true
	})
	if err != nil {
		return Usage{}, err
	}
	for i, p := range node.Pools {
		if c.Pools[i].Free = p.Capacity(); c.Pools[i].Free != math.MaxUint64 {
			c.Pools[i].Free -= c.taken[i]
		}
	}
	slices.SortFunc(c.Outside, func(a, b Stray) int {
		if a.Pod != b.Pod {
			return strings.Compare(a.Pod.String(), b.Pod.String())
		}
		return a.Address.Compare(b.Address)
	})
	return c.Usage, nil
}

type counter struct {
	Usage
	node nodefile.Node
	// taken counts what each pool cannot give now, beside what it has set aside.
	taken []uint64
}

func (c *counter) allocation(alloc store.Allocation) {
	c.Attachments[alloc.State]++
	for _, addr := range alloc.Addresses {
		i := c.home(addr)
		switch {
		case i < 0:
			c.Outside = append(c.Outside, Stray{addr, alloc.Pod})
		case alloc.State == store.Pending:
			c.Pools[i].Pending++
		default:
			c.Pools[i].Committed++
		}
	}
}

func (c *counter) cooling(addr netip.Addr) {
	if i := c.home(addr); i >= 0 {
		c.Pools[i].Cooling++
	}
}

// home returns the address's pool, negative for none, and notes that the pool cannot give it.
func (c *counter) home(addr netip.Addr) int {
	i := slices.IndexFunc(c.node.Pools, func(p pool.Pool) bool { return p.Contains(addr) })
	if i >= 0 && !c.node.Pools[i].SetAside(addr) {
		c.taken[i]++
	}
	return i
}
