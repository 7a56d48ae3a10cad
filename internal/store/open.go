// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// with opens the file for one transaction. bbolt reads it through a memory map, where a damaged page is
// a panic or a fault: both are errors here.
func (s Store) with(readOnly bool, run func(*bbolt.DB) error) (err error) {
	var file *os.File
	var db *bbolt.DB
	opts := bbolt.Options{ReadOnly: readOnly, Timeout: foreignWait}
	opts.OpenFile = func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		file, err = openTrusted(path, flag&^os.O_CREATE, mode)
		return file, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover(); {
		case r != nil:
			err = s.panicked(r, file)
		case db != nil:
			err = full(errors.Join(err, db.Close()))
		}
	}()
	if db, err = bbolt.Open(s.path(), 0o600, &opts); err != nil {
		return full(fmt.Errorf("open the store %s: %w", s.path(), err))
	}
	if err = run(db); err == nil && !readOnly {
		seal(s.path())
	}
	return err
}

// foreignWait is how long bbolt waits for a bbolt of somebody else, who looks at the file. Our own lock is
// held already.
const foreignWait = 5 * time.Second

// openTrusted opens a store's file if bbolt can be trusted with it: nobody wrote to it since a store did, or
// everything in it is right.
func openTrusted(path string, flag int, mode os.FileMode) (*os.File, error) {
	// Not os.OpenFile, which sets up Go's poller for every file that it opens, and for these in vain.
	fd, err := unix.Open(path, flag|unix.O_CLOEXEC, uint32(mode))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	file := os.NewFile(uintptr(fd), path)
	if err := trust(file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func trust(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.ModTime().Nanosecond() == sealed {
		return nil
	}
	content, err := read(file)
	if err != nil {
		return err
	}
	if err := verify(content); err != nil {
		return err
	}
	seal(file.Name())
	return nil
}

// sealed is the fraction of a second, in nanoseconds, of a store's modification time after a transaction.
// Whoever else writes to the file leaves another: then, and only then, all of it is verified.
const sealed = 727_372_737

// seal marks the file as written by a store. Without the mark it is verified once more than needed.
func seal(path string) {
	now := unix.NsecToTimespec(time.Now().Truncate(time.Second).UnixNano() + sealed)
	unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{now, now}, 0)
}

// maxContent bounds what a damaged file can make us read: 12,000 allocations take 16 MB.
const maxContent = 1 << 28

func read(file *os.File) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(file, maxContent))
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	return content, nil
}

// panicked tells a panic over damage, which becomes an error, from a defect of the program, which goes
// on. It closes the file and not the database: bbolt may hold its own locks still, and would wait for them.
func (s Store) panicked(r any, file *os.File) error {
	if file != nil {
		unix.Flock(int(file.Fd()), unix.LOCK_UN) // the memory map would keep it
		file.Close()
	}
	if err := s.inspect(); isDamage(err) {
		return err
	}
	panic(r)
}
