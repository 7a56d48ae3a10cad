// SPDX-License-Identifier: Apache-2.0

package store

import (
	"net/netip"
	"time"
)

// Released calls fn for every address that is cooling down or cold and not yet pruned, the one released
// first coming first, until it returns false. fn must not change the store.
func (tx *Tx) Released(fn func(addr netip.Addr, at time.Duration) bool) error {
	return each(tx.released, nil, nil, func(key []byte, _ any) (bool, error) {
		addr, at, err := parseReleasedKey(key)
		if err != nil {
			return false, err
		}
		latest, err := tx.isReleased(addr, at)
		return err == nil && (!latest || fn(addr, at)), err
	})
}

// isReleased tells whether the address is free since then, not taken or released again.
func (tx *Tx) isReleased(addr netip.Addr, at time.Duration) (bool, error) {
	h, found, err := tx.Holder(addr)
	return found && h.Free() && h.Released == at, err
}

// Prune forgets up to limit addresses that were released before the given time since boot, or in an
// earlier boot, so that the store does not grow with every pod that ever was.
func (tx *Tx) Prune(before, now time.Duration, limit int) error {
	for ; limit > 0; limit-- {
		key, addr, at, err := tx.stale(before, now)
		if err != nil || key == nil {
			return err
		}
		latest, err := tx.isReleased(addr, at)
		if err != nil {
			return err
		}
		if latest {
			if err := tx.addresses.Delete(addressKey(addr)); err != nil {
				return err
			}
		}
		if err := tx.released.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// stale returns the key of a release before the given time or after now, which is of an earlier boot; nil
// when there is none. In order of time these are at the two ends.
func (tx *Tx) stale(before, now time.Duration) ([]byte, netip.Addr, time.Duration, error) {
	cursor := tx.released.Cursor()
	for _, move := range []func() ([]byte, []byte){cursor.First, cursor.Last} {
		key, _ := move()
		if key == nil {
			break
		}
		addr, at, err := parseReleasedKey(key)
		if err != nil || at < before || at > now {
			return key, addr, at, err
		}
	}
	return nil, netip.Addr{}, 0, nil
}
