// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// mode keeps passwords from everybody but BIRD, which may run with the group of the folder.
const mode = 0o640

// Write replaces the file with the text in one step, also for a reader after a crash. The file gets the
// group of its folder.
func Write(path string, text []byte) error {
	next := path + ".next"
	if err := stage(next, text); err != nil {
		return err
	}
	return commit(next, path)
}

// stage writes a file that is not there, or of no more use.
func stage(path string, text []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write configuration: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Chmod(mode), takeGroup(file), file.Sync(), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write configuration: %w", err), os.Remove(path))
	}
	return nil
}

func takeGroup(file *os.File) error {
	own, err := file.Stat()
	if err != nil {
		return err
	}
	folder, err := os.Stat(filepath.Dir(file.Name()))
	if err != nil {
		return err
	}
	want := folder.Sys().(*syscall.Stat_t).Gid
	if own.Sys().(*syscall.Stat_t).Gid == want {
		return nil
	}
	return file.Chown(-1, int(want))
}

// commit gives a staged file its name and makes that last.
func commit(staged, path string) error {
	if err := os.Rename(staged, path); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
