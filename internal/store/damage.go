// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// damageError tells that the file's content is not what a store wrote.
type damageError struct{ err error }

func (e *damageError) Error() string { return "read the store: damaged: " + e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

func damaged(err error) error { return &damageError{err} }

func isDamage(err error) bool {
	var d *damageError
	return errors.As(err, &d)
}

// openError tells damage from what is merely in the way, such as permissions.
func openError(path string, err error) error {
	for _, bad := range []error{bbolterrors.ErrInvalid, bbolterrors.ErrVersionMismatch, bbolterrors.ErrChecksum, bbolterrors.ErrInvalidMapping} {
		if errors.Is(err, bad) {
			return damaged(err)
		}
	}
	return fmt.Errorf("open the store %s: %w", path, err)
}

// inspect returns a damageError if the file is damaged, which tells a panic over it from a defect of the
// program. It works on a copy, because the panicked transaction may still hold bbolt's lock.
func (s Store) inspect() (err error) {
	content, err := os.ReadFile(s.path())
	if err != nil {
		return err
	}
	copied := filepath.Join(s.Dir, fileName+".inspect")
	if err := os.WriteFile(copied, content, 0o600); err != nil {
		return err
	}
	defer os.Remove(copied)
	defer func() {
		if r := recover(); r != nil {
			err = damaged(fmt.Errorf("%v", r))
		}
	}()
	db, err := bbolt.Open(copied, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return damaged(err)
	}
	return db.View(readAll)
}

// readAll touches every page that a bucket reaches.
func readAll(tx *bbolt.Tx) error {
	return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
		return bucket.ForEach(func(_, _ []byte) error { return nil })
	})
}

// beginAgain sets the damaged file aside and fills a new one with what the kernel shows.
func (s Store) beginAgain(why error) error {
	var found []Allocation
	if s.Rebuild != nil {
		var err error
		if found, err = s.Rebuild(); err != nil {
			return fmt.Errorf("rebuild the store from the kernel: %w (%w)", err, why)
		}
	}
	aside := fmt.Sprintf("%s.damaged-%d", s.path(), time.Now().UnixNano())
	if err := os.Rename(s.path(), aside); err != nil {
		return fmt.Errorf("set the damaged store aside: %w (%w)", err, why)
	}
	shout("flock: %v; kept as %s; %d allocations rebuilt from the kernel's links and routes", why, aside, len(found))
	return s.update(func(tx *Tx) error {
		for _, alloc := range found {
			if err := tx.Put(alloc); err != nil {
				return err
			}
		}
		return nil
	})
}

// shout tells the operator where it is seen even though the runtime drops a successful plugin's stderr.
func shout(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, text)
	if log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		fmt.Fprintf(log, "<4>%s\n", text)
		log.Close()
	}
}
