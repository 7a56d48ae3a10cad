// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Keeper makes a stage's claims and what it does about them come and go together. A claim is there
// before its effect and until after it, so that a process killed at any moment leaves nothing that a
// later Release or Collect would not find.
type Keeper struct {
	Store store.Store
	Stage string
	// Undo takes back what the stage did for a claim. Undoing what was not done is not an error.
	Undo func(Claim) error
}

func (k Keeper) book(tx *store.Tx) Book { return Book{Tx: tx, Stage: k.Stage} }

// Take notes the attachment's claim, with also in the same transaction, and then does what follows from
// it. An address that somebody living has is a [*store.TakenError], and nothing is changed. What an
// earlier claim of the attachment had beyond this one is undone. Errors of the store are [*StoreError]s.
func (k Keeper) Take(a cni.Attachment, c Claim, also func(*store.Tx) error, do func() error) error {
	var before Claim
	err := k.locked(c.Addresses(), func() (err error) {
		before, err = k.take(a, c, also, do)
		return err
	})
	if err != nil {
		return err
	}
	if dropped := before.Without(c); len(dropped.Addresses()) > 0 {
		return k.locked(dropped.Addresses(), func() error { return k.undo(a, dropped) })
	}
	return nil
}

func (k Keeper) take(a cni.Attachment, c Claim, also func(*store.Tx) error, do func() error) (before Claim, err error) {
	err = k.Store.Update(func(tx *store.Tx) (err error) {
		if before, _, err = k.book(tx).Get(a); err != nil {
			return err
		}
		if err := k.book(tx).Put(a, c); err != nil {
			return err
		}
		return also(tx)
	})
	if err != nil {
		return Claim{}, &StoreError{fmt.Errorf("note the addresses of attachment %s: %w", a, err)}
	}
	return before, do()
}

// locked runs fn while nobody else changes anything about the addresses.
func (k Keeper) locked(addrs []netip.Addr, fn func() error) error {
	unlock, err := Lock(k.Store.Dir, addrs)
	if err != nil {
		return &StoreError{err}
	}
	defer unlock()
	return fn()
}

// undo takes back what is still the attachment's.
func (k Keeper) undo(a cni.Attachment, c Claim) error {
	c, err := k.Undoable(a, c)
	if err != nil {
		return err
	}
	return k.Undo(c)
}

// Undoable returns what of the attachment's claim nobody else claims; see [Book.Undoable].
func (k Keeper) Undoable(a cni.Attachment, c Claim) (undoable Claim, err error) {
	err = k.Store.View(func(tx *store.Tx) (err error) {
		undoable, err = k.book(tx).Undoable(a, c)
		return err
	})
	if err != nil {
		return Claim{}, &StoreError{fmt.Errorf("look up what attachment %s has alone: %w", a, err)}
	}
	return undoable, nil
}

// Release undoes the attachment's claim and forgets it. Without one it undoes what guess returns, which
// may be nothing at all. Where the likely addresses are all of the claim's, the store is read once.
func (k Keeper) Release(a cni.Attachment, guess func(*store.Tx) (Claim, error), likely ...netip.Addr) error {
	var missed []netip.Addr
	err := k.locked(likely, func() error {
		c, alone, found, err := k.look(a, guess)
		if missed = subtract(c.Addresses(), likely); err != nil || len(missed) > 0 {
			return err
		}
		if err := k.Undo(alone); err != nil || !found {
			return err
		}
		return k.forget(a)
	})
	if err != nil || len(missed) == 0 {
		return err
	}
	return k.Release(a, guess, slices.Concat(likely, missed)...)
}

// look returns the attachment's claim, or the guess, and what of it nobody else claims.
func (k Keeper) look(a cni.Attachment, guess func(*store.Tx) (Claim, error)) (c, alone Claim, found bool, err error) {
	err = k.Store.View(func(tx *store.Tx) error {
		if c, found, err = k.book(tx).Get(a); err == nil && !found {
			c, err = guess(tx)
		}
		if err == nil {
			alone, err = k.book(tx).Undoable(a, c)
		}
		return err
	})
	if err != nil {
		return Claim{}, Claim{}, false, &StoreError{fmt.Errorf("look up what attachment %s has: %w", a, err)}
	}
	return c, alone, found, nil
}

func (k Keeper) forget(a cni.Attachment) error {
	err := k.Store.Update(func(tx *store.Tx) error { return k.book(tx).Delete(a) })
	if err != nil {
		return &StoreError{fmt.Errorf("forget what attachment %s had: %w", a, err)}
	}
	return nil
}

// Get returns the attachment's claim and whether there is one.
func (k Keeper) Get(a cni.Attachment) (c Claim, found bool, err error) {
	err = k.Store.View(func(tx *store.Tx) (err error) {
		c, found, err = k.book(tx).Get(a)
		return err
	})
	if err != nil {
		return Claim{}, false, &StoreError{fmt.Errorf("look up what attachment %s has: %w", a, err)}
	}
	return c, found, nil
}

// All returns the stage's claims.
func (k Keeper) All() (map[cni.Attachment]Claim, error) {
	claims := map[cni.Attachment]Claim{}
	err := k.Store.View(func(tx *store.Tx) error {
		return k.book(tx).All(func(a cni.Attachment, c Claim) error {
			claims[a] = c
			return nil
		})
	})
	if err != nil {
		return nil, &StoreError{fmt.Errorf("list what the attachments have: %w", err)}
	}
	return claims, nil
}

// Collect releases every claim of an attachment that is not valid, as many as it can.
func (k Keeper) Collect(valid func(cni.Attachment) bool) error {
	claims, err := k.All()
	if err != nil {
		return err
	}
	var failed []error
	for a, c := range claims {
		if !valid(a) {
			failed = append(failed, k.Release(a, nothing, c.Addresses()...))
		}
	}
	return errors.Join(failed...)
}

func nothing(*store.Tx) (Claim, error) { return Claim{}, nil }
