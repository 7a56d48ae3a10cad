// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"go.etcd.io/bbolt"

	"flock.fritzlab.net/flock/plugins/cni"
)

var (
	bucketAllocations = []byte("allocations") // attachment -> Allocation
	bucketAddresses   = []byte("addresses")   // address -> holder
	bucketReleased    = []byte("released")    // time since boot, address -> nothing
	bucketNotes       = []byte("notes")       // stage, attachment -> the stage's own JSON
	bucketCursors     = []byte("cursors")     // pool -> the address it gave last
)

// Tx is one transaction. It is valid inside the function that [Store.View] or [Store.Update] calls.
type Tx struct {
	allocations, addresses, released, notes, cursors *bbolt.Bucket // nil in a View of a store that does not exist
}

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
	found, err := get(tx.allocations, attachmentKey(a), &alloc)
	return alloc, found, err
}

// All calls fn for every allocation, in the order of their attachments' names, until it returns an error.
func (tx *Tx) All(fn func(Allocation) error) error {
	return each(tx.allocations, nil, func(_ []byte, alloc Allocation) error { return fn(alloc) })
}

// Holder returns who has the address, and false when nobody ever had it since the store began.
func (tx *Tx) Holder(addr netip.Addr) (Holder, bool, error) {
	var h Holder
	found, err := get(tx.addresses, addressKey(addr), &h)
	return h, found, err
}

// Scan calls fn for every known address of the prefix from the given one upwards, until it returns false.
func (tx *Tx) Scan(prefix netip.Prefix, from netip.Addr, fn func(netip.Addr, Holder) bool) error {
	if tx.addresses == nil {
		return nil
	}
	cursor := tx.addresses.Cursor()
	for key, value := cursor.Seek(addressKey(from)); key != nil; key, value = cursor.Next() {
		addr, ok := netip.AddrFromSlice(key[1:])
		if !ok {
			return damaged(fmt.Errorf("address key %x", key))
		}
		if !prefix.Contains(addr) {
			return nil
		}
		var h Holder
		if err := json.Unmarshal(value, &h); err != nil {
			return damaged(err)
		}
		if !fn(addr, h) {
			return nil
		}
	}
	return nil
}

// Put stores an attachment's first allocation and takes its addresses, cooling or not. An address of
// another attachment is a [*TakenError]; let the transaction fail with it, and nothing is changed.
func (tx *Tx) Put(alloc Allocation) error {
	if err := tx.take(alloc); err != nil {
		return err
	}
	return put(tx.allocations, attachmentKey(alloc.Attachment), alloc)
}

func (tx *Tx) take(alloc Allocation) error {
	for _, addr := range alloc.Addresses {
		h, found, err := tx.Holder(addr)
		if err != nil {
			return err
		}
		if found && !h.Free() && h.Owner != alloc.Attachment {
			return &TakenError{Address: addr, Owner: h.Owner}
		}
		if err := put(tx.addresses, addressKey(addr), Holder{Owner: alloc.Attachment}); err != nil {
			return err
		}
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
	alloc.State, alloc.CommittedAt = Committed, now
	return put(tx.allocations, attachmentKey(a), alloc)
}

// Release gives an attachment's addresses back at the given time since boot: those that it still owns
// start to cool down. An attachment without an allocation is not an error.
func (tx *Tx) Release(a cni.Attachment, sinceBoot time.Duration) error {
	alloc, found, err := tx.Get(a)
	if err != nil || !found {
		return err
	}
	for _, addr := range alloc.Addresses {
		h, found, err := tx.Holder(addr)
		if err != nil {
			return err
		}
		if !found || h.Owner != a {
			continue
		}
		if err := put(tx.addresses, addressKey(addr), Holder{Released: sinceBoot}); err != nil {
			return err
		}
		if err := tx.released.Put(releasedKey(addr, sinceBoot), nil); err != nil {
			return err
		}
	}
	return tx.allocations.Delete(attachmentKey(a))
}

// Released calls fn for every address that is cooling down or cold and not yet pruned, the one released
// first coming first, until it returns false.
func (tx *Tx) Released(fn func(addr netip.Addr, at time.Duration) bool) error {
	if tx.released == nil {
		return nil
	}
	cursor := tx.released.Cursor()
	for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
		addr, at, err := parseReleasedKey(key)
		if err != nil {
			return err
		}
		h, found, err := tx.Holder(addr)
		if err != nil {
			return err
		}
		if found && h.Free() && h.Released == at && !fn(addr, at) {
			return nil
		}
	}
	return nil
}

// Prune forgets up to limit addresses that were released before the given time since boot, or in an
// earlier boot, so that the store does not grow with every pod that ever was.
func (tx *Tx) Prune(before, now time.Duration, limit int) error {
	cursor := tx.released.Cursor()
	for key, _ := cursor.First(); key != nil && limit > 0; key, _ = cursor.Next() {
		addr, at, err := parseReleasedKey(key)
		if err != nil {
			return err
		}
		if at >= before && at <= now {
			return nil
		}
		if err := tx.forget(addr, at); err != nil {
			return err
		}
		if err := cursor.Delete(); err != nil {
			return err
		}
		limit--
	}
	return nil
}

func (tx *Tx) forget(addr netip.Addr, at time.Duration) error {
	h, found, err := tx.Holder(addr)
	if err != nil || !found || !h.Free() || h.Released != at {
		return err
	}
	return tx.addresses.Delete(addressKey(addr))
}

// Cursor returns the address that a pool gave last, and whether it gave any.
func (tx *Tx) Cursor(pool netip.Prefix) (netip.Addr, bool, error) {
	var addr netip.Addr
	found, err := get(tx.cursors, []byte(pool.String()), &addr)
	return addr, found, err
}

// SetCursor notes the address that a pool gave last.
func (tx *Tx) SetCursor(pool netip.Prefix, addr netip.Addr) error {
	return put(tx.cursors, []byte(pool.String()), addr)
}

// Note reads a stage's own state of an attachment into v and returns whether there is any.
func (tx *Tx) Note(stage string, a cni.Attachment, v any) (bool, error) {
	return get(tx.notes, noteKey(stage, a), v)
}

// SetNote stores a stage's own state of an attachment: what does not survive in the CNI result.
func (tx *Tx) SetNote(stage string, a cni.Attachment, v any) error {
	return put(tx.notes, noteKey(stage, a), v)
}

// DeleteNote removes a stage's own state of an attachment; none is not an error.
func (tx *Tx) DeleteNote(stage string, a cni.Attachment) error {
	return tx.notes.Delete(noteKey(stage, a))
}

// Notes calls fn with every note of a stage, as decoded into a T, until it returns an error. fn must
// not change the store.
func Notes[T any](tx *Tx, stage string, fn func(cni.Attachment, T) error) error {
	prefix := []byte(stage + "\x00")
	return each(tx.notes, prefix, func(key []byte, note T) error {
		a, err := parseAttachmentKey(key[len(prefix):])
		if err != nil {
			return err
		}
		return fn(a, note)
	})
}
