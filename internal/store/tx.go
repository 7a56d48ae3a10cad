// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"flock.fritzlab.net/flock/plugins/cni"
)

// The buckets, in the order in which the file has them.
const (
	bucketAddresses   = "addresses"   // address -> Holder
	bucketAllocations = "allocations" // attachment -> Allocation
	bucketCursors     = "cursors"     // pool -> the address it gave last
	bucketNotes       = "notes"       // stage, attachment -> the stage's own JSON
	bucketReleased    = "released"    // time since boot, address -> null
	bucketTotals      = "totals"      // one key -> Counters
)

var bucketNames = []string{bucketAddresses, bucketAllocations, bucketCursors, bucketNotes, bucketReleased, bucketTotals}

// Tx is one transaction. It is valid inside the function that [Store.View] or [Store.Update] calls. An
// error of one of its methods must be returned from that function: the store repairs itself by it.
type Tx struct {
	addresses, allocations, cursors, notes, released, totals table
}

func newTx(btx *bbolt.Tx) *Tx {
	return &Tx{
		addresses:   tableOf(btx, bucketAddresses),
		allocations: tableOf(btx, bucketAllocations),
		cursors:     tableOf(btx, bucketCursors),
		notes:       tableOf(btx, bucketNotes),
		released:    tableOf(btx, bucketReleased),
		totals:      tableOf(btx, bucketTotals),
	}
}

func (tx *Tx) table(kind byte) table {
	return []table{tx.addresses, tx.allocations, tx.cursors, tx.notes, tx.released, tx.totals}[kind]
}

// Missing tells whether there is no store: [Store.View] then shows an empty one.
func (tx *Tx) Missing() bool { return tx.allocations.Bucket == nil }

// Holder says who has an address, or when it was released.
type Holder struct {
	// Owner is the attachment that has the address; zero once it is released.
	Owner cni.Attachment `json:"owner,omitzero"`
	// Released is when it was given back, as time since boot.
	Released time.Duration `json:"released,omitempty"`
}

// Free tells whether nobody has the address. It may still be cooling down.
func (h Holder) Free() bool { return h.Owner == cni.Attachment{} }

// Cooling tells whether the address was released less than coolDown before now, both since boot. A
// release that lies in the future is one of an earlier boot, and cold.
func (h Holder) Cooling(now, coolDown time.Duration) bool {
	return h.Free() && h.Released <= now && now-h.Released < coolDown
}

// Get returns the attachment's allocation and whether there is one.
func (tx *Tx) Get(a cni.Attachment) (Allocation, bool, error) {
	var alloc Allocation
	found, err := tx.allocations.get(attachmentKey(a), &alloc)
	return alloc, found, err
}

// All calls fn for every allocation, in an order that stays the same, until it returns an error. fn must
// not change the store.
func (tx *Tx) All(fn func(Allocation) error) error {
	return each(tx.allocations, nil, nil, func(_ []byte, alloc Allocation) (bool, error) { return true, fn(alloc) })
}

// Holder returns who has the address, and false when nobody ever had it since the store began.
func (tx *Tx) Holder(addr netip.Addr) (Holder, bool, error) {
	var h Holder
	found, err := tx.addresses.get(addressKey(addr), &h)
	return h, found, err
}

// Scan calls fn for every known address of the prefix from the given one upwards, until it returns
// false. fn must not change the store.
func (tx *Tx) Scan(prefix netip.Prefix, from netip.Addr, fn func(netip.Addr, Holder) bool) error {
	return each(tx.addresses, familyKey(from), addressKey(from), func(key []byte, h Holder) (bool, error) {
		addr, err := parseAddressKey(key)
		return err == nil && prefix.Contains(addr) && fn(addr, h), err
	})
}

// Put stores an attachment's allocation and takes its addresses, cooling or not. It changes nothing and
// returns a [*TakenError] when one belongs to another attachment. Putting an attachment's allocation
// again may add addresses; to give some of them back is an error, for that is [Tx.Release]'s.
func (tx *Tx) Put(alloc Allocation) error {
	old, known, err := tx.Get(alloc.Attachment)
	if err != nil {
		return err
	}
	if err := tx.put(alloc, old); err != nil || known {
		return err
	}
	return tx.count(func(c *Counters) { c.allocated(alloc) })
}

// put is Put without counting; old is what the attachment has already.
func (tx *Tx) put(alloc, old Allocation) error {
	if err := tx.mayPut(alloc, old); err != nil {
		return err
	}
	for _, addr := range alloc.Addresses {
		if err := tx.addresses.put(addressKey(addr), Holder{Owner: alloc.Attachment}); err != nil {
			return err
		}
	}
	return tx.allocations.put(attachmentKey(alloc.Attachment), alloc)
}

func (tx *Tx) mayPut(alloc, old Allocation) error {
	for _, addr := range old.Addresses {
		if !slices.Contains(alloc.Addresses, addr) {
			return fmt.Errorf("put allocation of attachment %s: it has %s already, which must be released first", alloc.Attachment, addr)
		}
	}
	for _, addr := range alloc.Addresses {
		if err := tx.mayTake(addr, alloc.Attachment); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) mayTake(addr netip.Addr, who cni.Attachment) error {
	if !isKey(addr) {
		return fmt.Errorf("put allocation of attachment %s: %q is no address without a zone", who, addr)
	}
	h, _, err := tx.Holder(addr)
	if err != nil {
		return err
	}
	if !h.Free() && h.Owner != who {
		return &TakenError{Address: addr, Owner: h.Owner}
	}
	return nil
}

// Commit marks the attachment's allocation as committed. An attachment without one, or with a
// committed one, is not an error.
func (tx *Tx) Commit(a cni.Attachment, now time.Time) error {
	alloc, found, err := tx.Get(a)
	if err != nil || !found || alloc.State == Committed {
		return err
	}
	alloc.State, alloc.CommittedAt = Committed, now.UTC() // the local zone would cost reading /etc/localtime
	if err := tx.allocations.put(attachmentKey(a), alloc); err != nil {
		return err
	}
	return tx.count(func(c *Counters) { c.committed(alloc) })
}

// Release gives an attachment's addresses back at the given time since boot: those that it still owns
// start to cool down. An attachment without an allocation is not an error.
func (tx *Tx) Release(a cni.Attachment, sinceBoot time.Duration) error {
	alloc, found, err := tx.Get(a)
	if err != nil || !found {
		return err
	}
	for _, addr := range alloc.Addresses {
		if err := tx.release(addr, a, sinceBoot); err != nil {
			return err
		}
	}
	if err := tx.allocations.Delete(attachmentKey(a)); err != nil || alloc.State == Committed {
		return err
	}
	return tx.count(func(c *Counters) { c.Undone++ })
}

func (tx *Tx) release(addr netip.Addr, owner cni.Attachment, at time.Duration) error {
	h, found, err := tx.Holder(addr)
	if err != nil || !found || h.Owner != owner {
		return err
	}
	if err := tx.addresses.put(addressKey(addr), Holder{Released: at}); err != nil {
		return err
	}
	return tx.released.put(releasedKey(addr, at), nil)
}
