// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// longest is how long the path of an extension's folder may be: go-plugin makes a socket in it, and the kernel takes 107
// bytes for that.
const longest = 107 - len("/plugin1234567890")

// claim makes the folder, which is root's alone, and returns when it is this process's until it is released. That it is
// another's is an error.
func claim(folder string) (release func(), err error) {
	if len(folder) > longest {
		return nil, fmt.Errorf("make %s: its name is longer than %d bytes, too long for a socket in it: use a shorter state folder", folder, longest)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := lock(dir); err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	return func() { dir.Close() }, nil
}

// lock locks the folder, if it still is the one at its path: whoever had it before may have removed it.
func lock(dir *os.File) error {
	err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("another process runs the extension: end that one")
	}
	if err != nil {
		return err
	}
	mine, err := dir.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(dir.Name())
	if err != nil {
		return err
	}
	if !os.SameFile(mine, there) {
		return errors.New("another process has just ended the extension")
	}
	return dir.Chmod(0o700)
}

// tidy ends what is left of an extension, and removes all that is in its folder.
func tidy(folder string) error {
	if err := sweep(folder); err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, entry.Name())))
	}
	return err
}
