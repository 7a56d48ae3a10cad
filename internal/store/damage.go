// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// damageError tells that the file's content is not what a store wrote.
type damageError struct{ err error }

func (e *damageError) Error() string { return "read the store: damaged: " + e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

func damaged(err error) error {
	if isDamage(err) {
		return err
	}
	return &damageError{err}
}

func isDamage(err error) bool {
	var d *damageError
	return errors.As(err, &d)
}

// inspect returns a damageError if anything in the file is damaged.
func (s Store) inspect() error {
	content, err := s.content()
	if err != nil {
		return err
	}
	return verify(content)
}

func (s Store) content() ([]byte, error) {
	file, err := os.Open(s.path())
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	defer file.Close()
	return read(file)
}

// Damaged returns the paths of the damaged files that were kept, the oldest first.
func (s Store) Damaged() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for damaged stores: %w", err)
	}
	var paths []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), fileName+damagedSuffix) {
			paths = append(paths, filepath.Join(s.Dir, entry.Name()))
		}
	}
	return paths, nil
}

// damagedSuffix is followed by a time in nanoseconds.
const damagedSuffix = ".damaged-"

// beginAgain keeps the damaged file under another name and puts a new one in its place.
func (s Store) beginAgain(why error) error {
	content, err := s.content()
	if err != nil {
		return fmt.Errorf("%w (%w)", err, why)
	}
	left, err := s.survivors(content)
	if err != nil {
		return fmt.Errorf("begin the store again: %w (%w)", err, why)
	}
	aside := fmt.Sprintf("%s%s%d", s.path(), damagedSuffix, time.Now().UnixNano())
	// The damaged file stays in its place until the new one is whole: a store that is absent is an empty one.
	if err := os.Link(s.path(), aside); err != nil {
		return full(fmt.Errorf("keep the damaged store as %s: %w (%w)", aside, err, why))
	}
	if err := s.begin(left); err != nil {
		os.Remove(aside)
		return fmt.Errorf("%w (%w)", err, why)
	}
	s.warn(fmt.Sprintf("flock: %v; kept as %s; begun again with %d allocations", why, aside, len(left.allocations)))
	return nil
}

func (s Store) warn(text string) {
	if s.Warn != nil {
		s.Warn(text)
		return
	}
	fmt.Fprintln(os.Stderr, text)
	if log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		fmt.Fprintf(log, "<4>%s\n", text) // 4: warning
		log.Close()
	}
}
