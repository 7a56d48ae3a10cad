// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// found is what is at a path.
type found struct {
	exists  bool
	mode    fs.FileMode
	content []byte
}

// look returns what is at a path, without following a symbolic link there. A folder is an error: no
// option makes flock remove one.
func look(path string) (found, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return found{}, nil
	}
	if err != nil {
		return found{}, fmt.Errorf("look at the target: %w", err)
	}
	f := found{exists: true, mode: info.Mode()}
	if f.mode.IsDir() {
		return found{}, fmt.Errorf("use path %s: it is a folder", path)
	}
	if !f.mode.IsRegular() {
		return f, nil
	}
	if f.content, err = os.ReadFile(path); err != nil {
		return found{}, fmt.Errorf("look at the target: %w", err)
	}
	return f, nil
}

// is tells whether the file needs nothing done.
func (f found) is(want file) bool { return f.holds(want) && f.mode == want.mode }

func (f found) holds(want file) bool {
	return f.exists && f.mode.IsRegular() && bytes.Equal(f.content, want.content)
}

func (f found) kind() string {
	switch {
	case f.mode.IsRegular():
		return "a file"
	case f.mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	default:
		return "a special file"
	}
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// stagedPath is beside the target: a rename from elsewhere is no rename, and goes unnoticed by
// containerd. The name ends in nothing that a runtime reads.
func stagedPath(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".flock-installer")
}

// stage writes the file beside its place, down to the disk. What a killed installer left is replaced.
func stage(f file) error {
	if err := writeNew(stagedPath(f.path), f); err != nil {
		os.Remove(stagedPath(f.path))
		return fmt.Errorf("install %s: %w", f.path, err)
	}
	return nil
}

func writeNew(path string, f file) (err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.Write(f.content); err != nil {
		return err
	}
	if err := out.Chmod(f.mode); err != nil {
		return err
	}
	return out.Sync()
}

// moveIn renames a staged file to its place and waits until that is on the disk. The old file lives on
// for as long as somebody executes it.
func moveIn(f file) error {
	if err := os.Rename(stagedPath(f.path), f.path); err != nil {
		return fmt.Errorf("install %s: %w", f.path, err)
	}
	return syncDir(filepath.Dir(f.path))
}

func discardStaged(files []file) {
	for _, f := range files {
		os.Remove(stagedPath(f.path))
	}
}

// removeFile removes a file for good. One that is absent is not an error.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("flush folder %s: %w", path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("flush folder %s: %w", path, err)
	}
	return nil
}

// checkDir wants a folder that is there already.
func checkDir(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		return fmt.Errorf("use folder %s: %w; install the container runtime first, or name the folder that it uses", path, err)
	}
	return nil
}

// lockDir keeps other installers out until unlock is called.
func lockDir(path string) (unlock func(), err error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lock folder %s: %w", path, err)
	}
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			dir.Close()
			return nil, fmt.Errorf("lock folder %s: %w", path, err)
		}
	}
}
