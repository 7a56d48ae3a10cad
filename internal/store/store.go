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

// Store is a node's store.
type Store struct {
	// Dir is the folder of the store, made by the first Update.
	Dir string
	// Rebuild returns the allocations that the kernel shows, for a store to begin with; nil: none.
	Rebuild func() ([]Allocation, error)
	// ReadOnly makes damage an error instead of something to repair, for those who only look on.
	ReadOnly bool
	// Warn gets what an operator must be told of: that the store was damaged or missing. nil: stderr
	// and the kernel's log, because a runtime drops the stderr of a plugin that succeeds.
	Warn func(text string)
}

// View runs fn in a read-only transaction. A store that does not exist yet is an empty one. Damage is
// treated as in [Store.Update].
func (s Store) View(fn func(*Tx) error) error {
	if _, err := os.Stat(s.Dir); errors.Is(err, fs.ErrNotExist) {
		return fn(&Tx{})
	}
	err := s.locked(unix.LOCK_SH, func() error { return s.view(fn) })
	if !isDamage(err) || s.ReadOnly {
		return err
	}
	return s.repaired(func() error { return s.view(fn) })
}

// Update runs fn in a transaction that is committed when fn returns nil and leaves no trace otherwise.
// A damaged file is kept aside under another name and the store is begun again from what Rebuild
// returns and from what the file still tells of living attachments; fn may then run a second time. An
// error for want of space is an [ErrFull].
func (s Store) Update(fn func(*Tx) error) error {
	return s.repaired(func() error { return s.update(fn) })
}

// Verify reads the whole store and repairs it if it is damaged, also where no transaction came by.
func (s Store) Verify() error {
	exists, err := s.exists()
	if err != nil || !exists {
		return err
	}
	var content []byte // a copy, so that nobody waits for the lock while it is examined
	err = s.locked(unix.LOCK_SH, func() (err error) {
		content, err = s.content()
		return err
	})
	if err != nil {
		return err
	}
	if err := verify(content); !isDamage(err) {
		return err
	}
	return s.repaired(s.inspect)
}

// repaired runs a transaction, and a second time if the first found damage.
func (s Store) repaired(run func() error) error {
	return s.locked(unix.LOCK_EX, func() error {
		err := run()
		if !isDamage(err) || s.ReadOnly {
			return err
		}
		if err := s.beginAgain(err); err != nil {
			return err
		}
		return run()
	})
}

// locked runs a function under the store's lock, for which it waits in the kernel: bbolt's own wait
// sleeps 50 ms between tries.
func (s Store) locked(how int, run func() error) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return full(fmt.Errorf("make the state folder: %w", err))
	}
	path := filepath.Join(s.Dir, lockName)
	lock, err := unix.Open(path, unix.O_CREAT|unix.O_RDONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return full(fmt.Errorf("open the store's lock %s: %w", path, err))
	}
	defer unix.Close(lock)
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(lock, how)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return run()
}

func (s Store) path() string { return filepath.Join(s.Dir, fileName) }

func (s Store) exists() (bool, error) {
	info, err := os.Stat(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the store: %w", err)
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("open the store %s: not a regular file", s.path())
	}
	return true, nil
}

func (s Store) view(fn func(*Tx) error) error {
	if exists, err := s.exists(); err != nil {
		return err
	} else if !exists {
		return fn(&Tx{})
	}
	return s.with(true, func(db *bbolt.DB) error {
		return db.View(func(btx *bbolt.Tx) error { return fn(newTx(btx)) })
	})
}

func (s Store) update(fn func(*Tx) error) error {
	if exists, err := s.exists(); err != nil {
		return err
	} else if !exists {
		if err := s.beginFirst(); err != nil {
			return err
		}
	}
	return s.with(false, func(db *bbolt.DB) error {
		return db.Update(func(btx *bbolt.Tx) error { return fn(newTx(btx)) })
	})
}

// beginFirst begins a store where there is none: after a boot, or because somebody has removed it while
// there were attachments.
func (s Store) beginFirst() error {
	left, err := s.survivors(nil)
	if err != nil {
		return fmt.Errorf("begin the store %s: %w", s.path(), err)
	}
	if err := s.begin(left); err != nil {
		return err
	}
	if n := len(left.allocations); n > 0 {
		s.warn(fmt.Sprintf("flock: the store %s is missing; begun again with %d allocations", s.path(), n))
	}
	return nil
}

// begin puts a store with these survivors in the place of what is there. It is whole or not there.
func (s Store) begin(left *survivors) error {
	fresh := s.path() + ".new"
	os.Remove(fresh) // left by a process that was killed
	err := build(fresh, left)
	if err == nil {
		err = os.Rename(fresh, s.path())
	}
	if err != nil {
		os.Remove(fresh)
		return full(fmt.Errorf("begin the store %s: %w", s.path(), err))
	}
	return nil
}

func build(path string, left *survivors) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(btx *bbolt.Tx) error {
		for _, name := range bucketNames {
			if _, err := btx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return left.restore(newTx(btx))
	})
	err = errors.Join(err, db.Close())
	seal(path)
	return err
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
