// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
)

// survivors returns what a new store begins with: what the kernel shows, and what can still be read from
// the content of the one before about attachments whose network namespace is alive. Those of a delegated
// plugin and those not finished yet have no route that the kernel could show.
func (s Store) survivors(content []byte) ([]Allocation, error) {
	var shown []Allocation
	if s.Rebuild != nil {
		var err error
		if shown, err = s.Rebuild(); err != nil {
			return nil, err
		}
	}
	m := merged{index: map[cni.Attachment]int{}, owner: map[netip.Addr]cni.Attachment{}}
	for _, alloc := range append(shown, salvage(content)...) {
		m.add(alloc)
	}
	return m.list, nil
}

// salvage returns every allocation whose record is whole, wherever it lies in the file, of attachments
// whose network namespace is alive. The latest version of an attachment alone is returned, for a file
// also holds pages out of use, and of two attachments the later one comes first.
func salvage(content []byte) []Allocation {
	var list []Allocation
	size := os.Getpagesize()
	for id := 0; len(content) >= (id+1)*size; id++ {
		p := parsePage(content[id*size:])
		if p.id == uint64(id) && p.flags == leafPage {
			p.data = p.data[:min(uint64(len(p.data)), (p.overflow+1)*uint64(size))]
			list = append(list, p.allocations()...)
		}
	}
	slices.SortStableFunc(list, func(a, b Allocation) int { return b.changed().Compare(a.changed()) })
	once := map[cni.Attachment]bool{}
	return slices.DeleteFunc(list, func(a Allocation) bool {
		old := once[a.Attachment]
		once[a.Attachment] = true
		alive, err := a.NetnsAlive()
		return old || (err == nil && !alive)
	})
}

func (a Allocation) changed() time.Time {
	if a.State == Committed {
		return a.CommittedAt
	}
	return a.Allocated
}

// allocations returns those whose records lie in a leaf, or in the small buckets that lie in it.
func (p page) allocations() (list []Allocation) {
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			continue
		}
		if inline, err := e.inline(); err == nil && e.flags == bucketElement {
			list = append(list, inline.allocations()...)
			continue
		}
		var alloc Allocation
		if decode(e.key, e.value, &alloc) == nil && bytes.Equal(e.key, attachmentKey(alloc.Attachment)) {
			list = append(list, alloc)
		}
	}
	return list
}

// merged is a list of allocations in which each address has one owner, the first that came.
type merged struct {
	list  []Allocation
	index map[cni.Attachment]int
	owner map[netip.Addr]cni.Attachment
}

func (m *merged) add(alloc Allocation) {
	alloc.Addresses = slices.DeleteFunc(slices.Clone(alloc.Addresses), func(a netip.Addr) bool {
		owner, owned := m.owner[a]
		return owned && owner != alloc.Attachment
	})
	for _, a := range alloc.Addresses {
		m.owner[a] = alloc.Attachment
	}
	if i, known := m.index[alloc.Attachment]; known {
		m.list[i].learn(alloc)
	} else if len(alloc.Addresses)+len(alloc.Anycast) > 0 {
		m.index[alloc.Attachment] = len(m.list)
		m.list = append(m.list, alloc)
	}
}

// learn adds what another record of the same attachment knows.
func (a *Allocation) learn(other Allocation) {
	a.Addresses = union(a.Addresses, other.Addresses)
	a.Anycast = union(a.Anycast, other.Anycast)
	if a.Pod == (cni.Pod{}) {
		a.Pod = other.Pod
	}
	if a.Netns == "" {
		a.Netns = other.Netns
	}
	if a.Allocated.IsZero() {
		a.Allocated, a.CommittedAt = other.Allocated, other.CommittedAt
	}
	if other.State == Committed {
		a.State = Committed
	}
}

func union(a, b []netip.Addr) []netip.Addr {
	for _, addr := range b {
		if !slices.Contains(a, addr) {
			a = append(a, addr)
		}
	}
	return a
}
