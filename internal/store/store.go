// SPDX-License-Identifier: Apache-2.0

// Package store keeps a node's attachments in one bbolt file: which addresses each has, and what the
// stages note about it. The file is opened for one transaction and closed, so that any number of
// processes share it and none holds it.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// DefaultDir is where the store is unless "stateDir" says otherwise: a tmpfs, because after a reboot
// every pod is new.
const DefaultDir = "/run/flock"

const (
	fileName = "store.db"
	lockName = "store.lock"
)

// Store is a node's store. The zero value of Rebuild loses the allocations of a damaged file.
type Store struct {
	// Dir is the folder of the store, made when it is missing.
	Dir string
	// Rebuild returns the allocations that the kernel shows, to begin again after damage.
	Rebuild func() ([]Allocation, error)
}

// View runs fn in a read-only transaction. A store that does not exist yet is an empty one.
func (s Store) View(fn func(*Tx) error) error {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	err = s.view(fn)
	unlock()
	if isDamage(err) {
		// Only a writer may set the damaged file aside.
		return s.Update(fn)
	}
	return err
}

// Update runs fn in a transaction that is committed when fn returns nil and leaves no trace otherwise.
// A damaged file is kept aside under another name and the store is begun again from what Rebuild
// returns, said on stderr and in the kernel log; fn may then run a second time. An error for want of
// space is an [ErrFull].
func (s Store) Update(fn func(*Tx) error) error {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	err = s.update(fn)
	if !isDamage(err) {
		return err
	}
	if err := s.beginAgain(err); err != nil {
		return err
	}
	return s.update(fn)
}

// lock takes the store's lock, waiting in the kernel: bbolt's own wait sleeps 50 ms between tries.
func (s Store) lock(how int) (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, full(fmt.Errorf("make the state folder: %w", err))
	}
	file, err := os.OpenFile(filepath.Join(s.Dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, full(fmt.Errorf("open the store's lock: %w", err))
	}
	for {
		err = unix.Flock(int(file.Fd()), how)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
		}
	}
}

func (s Store) path() string { return filepath.Join(s.Dir, fileName) }

func (s Store) view(fn func(*Tx) error) (err error) {
	if _, err := os.Stat(s.path()); errors.Is(err, fs.ErrNotExist) {
		return fn(&Tx{})
	}
	return s.with(true, func(db *bbolt.DB) error {
		return db.View(func(btx *bbolt.Tx) error { return fn(buckets(btx)) })
	})
}

func (s Store) update(fn func(*Tx) error) (err error) {
	return s.with(false, func(db *bbolt.DB) error {
		return db.Update(func(btx *bbolt.Tx) error {
			tx, err := makeBuckets(btx)
			if err != nil {
				return err
			}
			return fn(tx)
		})
	})
}

// with opens the file for one transaction. bbolt reads the file through a memory map, where a damaged
// page is a panic or a fault: both become errors here.
func (s Store) with(readOnly bool, run func(*bbolt.DB) error) (err error) {
	if info, err := os.Stat(s.path()); err == nil && info.Size() == 0 {
		return damaged(errors.New("empty file")) // bbolt would take it for a new one
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if err = s.inspect(); err == nil {
				panic(r)
			}
		}
	}()
	// The timeout is for a bbolt of somebody else who looks at the file; our lock is held already.
	db, err := bbolt.Open(s.path(), 0o600, &bbolt.Options{ReadOnly: readOnly, Timeout: 10 * time.Second})
	if err != nil {
		return full(openError(s.path(), err))
	}
	err = run(db)
	return full(errors.Join(err, db.Close()))
}

func buckets(btx *bbolt.Tx) *Tx {
	return &Tx{
		allocations: btx.Bucket(bucketAllocations),
		addresses:   btx.Bucket(bucketAddresses),
		released:    btx.Bucket(bucketReleased),
		notes:       btx.Bucket(bucketNotes),
		cursors:     btx.Bucket(bucketCursors),
	}
}

func makeBuckets(btx *bbolt.Tx) (*Tx, error) {
	if tx := buckets(btx); tx.cursors != nil {
		return tx, nil
	}
	for _, name := range [][]byte{bucketAllocations, bucketAddresses, bucketReleased, bucketNotes, bucketCursors} {
		if _, err := btx.CreateBucketIfNotExists(name); err != nil {
			return nil, err
		}
	}
	return buckets(btx), nil
}

// full marks an error that says the file system has no room.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// SinceBoot returns the time since boot, sleep included: it never jumps, whatever happens to the wall clock.
func SinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // impossible on a kernel that runs Go
	}
	return time.Duration(ts.Nano())
}
