// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"errors"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// StoreError is an error of the store or of the lock beside it.
type StoreError struct{ err error }

func (e *StoreError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.err }

// Code returns the CNI error code for an error of this package, or of a stage's doing or undoing: what
// is neither the store's nor about an address that is taken is the kernel's.
func Code(err error) uint {
	var taken *store.TakenError
	var conflict *rtnl.ConflictError
	var stored *StoreError
	switch {
	case errors.As(err, &taken), errors.As(err, &conflict):
		return cni.CodeAddressTaken
	case errors.Is(err, store.ErrFull), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return cni.CodeStoreFull
	case errors.As(err, &stored):
		return cni.CodeStoreUnreadable
	}
	return cni.CodeKernel
}
