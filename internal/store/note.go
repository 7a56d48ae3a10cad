// SPDX-License-Identifier: Apache-2.0

package store

import (
	"net/netip"

	"flock.fritzlab.net/flock/plugins/cni"
)

// Cursor returns the address that a pool gave last, and whether it gave any.
func (tx *Tx) Cursor(pool netip.Prefix) (netip.Addr, bool, error) {
	var addr netip.Addr
	found, err := tx.cursors.get([]byte(pool.String()), &addr)
	return addr, found, err
}

// SetCursor notes the address that a pool gave last.
func (tx *Tx) SetCursor(pool netip.Prefix, addr netip.Addr) error {
	return tx.cursors.put([]byte(pool.String()), addr)
}

// Note reads a stage's own state of an attachment into v and returns whether there is any.
func (tx *Tx) Note(stage string, a cni.Attachment, v any) (bool, error) {
	return tx.notes.get(noteKey(stage, a), v)
}

// SetNote stores a stage's own state of an attachment: what does not survive in the CNI result.
func (tx *Tx) SetNote(stage string, a cni.Attachment, v any) error {
	return tx.notes.put(noteKey(stage, a), v)
}

// DeleteNote removes a stage's own state of an attachment; none is not an error.
func (tx *Tx) DeleteNote(stage string, a cni.Attachment) error {
	return tx.notes.Delete(noteKey(stage, a))
}

// Notes calls fn with every note of a stage, as decoded into a T, until it returns an error. fn must
// not change the store.
func Notes[T any](tx *Tx, stage string, fn func(cni.Attachment, T) error) error {
	prefix := stageKey(stage)
	return each(tx.notes, prefix, prefix, func(key []byte, note T) (bool, error) {
		a, err := parseAttachmentKey(key[len(prefix):])
		if err != nil {
			return false, err
		}
		return true, fn(a, note)
	})
}
