// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"

	"flock.fritzlab.net/flock/plugins/cni"
)

// survivors is what a new store begins with: allocations, and records of the other tables.
type survivors struct {
	allocations []Allocation
	records     []found

	index  map[cni.Attachment]int // into allocations
	owner  map[netip.Addr]cni.Attachment
	alive  map[cni.Attachment]bool
	holder map[netip.Addr]Holder // as the store before had it
}

// survivors returns what the kernel shows, and what the content of the store before still tells about
// attachments whose network namespace is alive. Those of a delegated plugin and those not finished yet
// have no route that the kernel could show, and what the stages noted it shows of nobody.
func (s Store) survivors(content []byte) (*survivors, error) {
	left := &survivors{
		index: map[cni.Attachment]int{}, owner: map[netip.Addr]cni.Attachment{},
		alive: map[cni.Attachment]bool{}, holder: map[netip.Addr]Holder{},
	}
	if s.Rebuild != nil {
		shown, err := s.Rebuild()
		if err != nil {
			return nil, err
		}
		for _, alloc := range shown {
			left.add(alloc)
		}
	}
	list := salvage(content)
	for _, add := range []func(found){left.addHolder, left.addAllocation, left.addAlive, left.addRecord} {
		for _, f := range list {
			add(f)
		}
	}
	return left, nil
}

func (l *survivors) addHolder(f found) {
	var h Holder
	if f.kind != kindOf(bucketAddresses) || json.Unmarshal(f.json, &h) != nil {
		return
	}
	if addr, err := parseAddressKey(f.key); err == nil {
		l.holder[addr] = h
	}
}

// addAllocation adds one that was not released since, as far as the addresses tell.
func (l *survivors) addAllocation(f found) {
	var alloc Allocation
	if f.kind != kindOf(bucketAllocations) || json.Unmarshal(f.json, &alloc) != nil || !alloc.mayLive() {
		return
	}
	if !bytes.Equal(f.key, attachmentKey(alloc.Attachment)) {
		return
	}
	alloc.Addresses = slices.DeleteFunc(alloc.Addresses, func(a netip.Addr) bool {
		h, known := l.holder[a]
		return known && h.Owner != alloc.Attachment
	})
	l.add(alloc)
}

func (a Allocation) mayLive() bool {
	alive, err := a.NetnsAlive()
	return alive || err != nil
}

// add adds an allocation, less the addresses that another has already.
func (l *survivors) add(alloc Allocation) {
	alloc.Addresses = slices.DeleteFunc(slices.Clone(alloc.Addresses), func(a netip.Addr) bool {
		owner, owned := l.owner[a]
		return !isKey(a) || owned && owner != alloc.Attachment
	})
	if len(alloc.Addresses)+len(alloc.Anycast) == 0 {
		return
	}
	for _, a := range alloc.Addresses {
		l.owner[a] = alloc.Attachment
	}
	l.alive[alloc.Attachment] = true
	if i, known := l.index[alloc.Attachment]; known {
		l.allocations[i].learn(alloc)
		return
	}
	l.index[alloc.Attachment] = len(l.allocations)
	l.allocations = append(l.allocations, alloc)
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
}

func union(a, b []netip.Addr) []netip.Addr {
	for _, addr := range b {
		if !slices.Contains(a, addr) {
			a = append(a, addr)
		}
	}
	return a
}

// addAlive looks at the network namespace that a note names, for attachments without an allocation.
func (l *survivors) addAlive(f found) {
	var note struct {
		Netns string `json:"netns"`
	}
	if f.kind != kindOf(bucketNotes) || json.Unmarshal(f.json, &note) != nil || note.Netns == "" {
		return
	}
	if _, a, err := parseNoteKey(f.key); err == nil && (Allocation{Netns: note.Netns}).mayLive() {
		l.alive[a] = true
	}
}

// addRecord keeps the notes of the living, the cool-down of addresses that nobody has, and the cursors.
// Counters begin anew.
func (l *survivors) addRecord(f found) {
	switch f.kind {
	case kindOf(bucketCursors):
		l.records = append(l.records, f)
	case kindOf(bucketNotes):
		if _, a, err := parseNoteKey(f.key); err == nil && l.alive[a] {
			l.records = append(l.records, f)
		}
	case kindOf(bucketAddresses):
		addr, err := parseAddressKey(f.key)
		h, known := l.holder[addr]
		if _, owned := l.owner[addr]; owned || err != nil || !known || !h.Free() {
			return
		}
		null := record{kind: kindOf(bucketReleased), json: []byte("null")}
		l.records = append(l.records, f, found{releasedKey(addr, h.Released), null})
	}
}

// restore writes all of it into an empty store.
func (l *survivors) restore(tx *Tx) error {
	for _, alloc := range l.allocations {
		if err := tx.put(alloc, Allocation{}); err != nil {
			return err
		}
	}
	for _, f := range l.records {
		if err := tx.table(f.kind).put(f.key, json.RawMessage(f.json)); err != nil {
			return err
		}
	}
	return nil
}
