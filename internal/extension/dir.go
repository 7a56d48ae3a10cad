// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// DefaultDir is where extensions are installed.
const DefaultDir = "/usr/libexec/flock"

// Dir is the folder that extensions are in.
type Dir struct{ Path string }

var nameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

// CheckName returns an error unless an extension may have the name: at most 40 of a-z, 0-9 and -, the last neither first
// nor last.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name an extension %q: a name is at most 40 of a-z, 0-9 and -, and begins and ends with none of the last", name)
	}
	return nil
}

// Find returns the program of an extension: an executable file <kind>-<name> that, as the folder and those above it,
// belongs to root and can be written by nobody else; a sticky one above may be. The error tells what to do.
func (d Dir) Find(kind, name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	path, err := filepath.Abs(filepath.Join(d.Path, kind+"-"+name))
	if err == nil {
		err = examine(path)
	}
	if err != nil {
		return "", fmt.Errorf("find %s %s: %w", kind, name, err)
	}
	return path, nil
}

// examine returns why the file must not be run.
func examine(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: install it, or correct the name", err)
	}
	if err != nil {
		return err
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return err
	}
	if filepath.Dir(real) != folder {
		return fmt.Errorf("%s is a symbolic link to %s: put the program itself into the folder", path, real)
	}
	info, err := os.Lstat(real)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: put the program itself there", path)
	}
	// Whoever can put another link where one was passed has the choice of the program too.
	if err := trusted(path); err != nil {
		return err
	}
	if err := trusted(real); err != nil {
		return err
	}
	if info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s cannot be executed: chmod +x %s", path, path)
	}
	return nil
}

// trusted returns an error unless the file and all folders that it is in are root's alone to change.
func trusted(path string) error {
	folder := filepath.Dir(path)
	for {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
			return fmt.Errorf("%s belongs to user %d: chown root %s", path, owner, path)
		}
		if writable(info, len(path) < len(folder)) {
			return fmt.Errorf("%s can be written by others than root: chmod go-w %s", path, path)
		}
		parent := filepath.Dir(path)
		if parent == path {
			return nil
		}
		path = parent
	}
}

// writable tells whether others than root can change the file, or what is in the folder. In one above the extensions' they
// may be able to write, if it is sticky: there they can change their own alone. A link has no mode.
func writable(info fs.FileInfo, above bool) bool {
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return false
	case above && mode&fs.ModeSticky != 0:
		return false
	default:
		return mode.Perm()&0o022 != 0
	}
}
