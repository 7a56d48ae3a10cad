// SPDX-License-Identifier: Apache-2.0

// Package filewatch tells when a file may have changed. It watches the file's folder, because a file that is
// replaced is another file.
package filewatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Watcher tells of changes in the folder of a file.
type Watcher struct {
	folder  string
	inotify *os.File
}

// changes are what can have given a file in a folder another content.
const changes = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE

// Watch begins to watch the file's folder, which must exist; the file need not.
func Watch(path string) (*Watcher, error) {
	folder := filepath.Dir(path)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", folder, err)
	}
	if _, err := unix.InotifyAddWatch(fd, folder, changes); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", folder, err), unix.Close(fd))
	}
	return &Watcher{folder: folder, inotify: os.NewFile(uintptr(fd), "inotify")}, nil
}

// Run calls changed after changes in the folder, several of them perhaps at once, until the context ends,
// which closes the watcher and is not an error.
func (w *Watcher) Run(ctx context.Context, changed func()) error {
	defer context.AfterFunc(ctx, func() { w.inotify.Close() })()
	buf := make([]byte, 64<<10)
	for {
		_, err := w.inotify.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch %s: %w", w.folder, err)
		}
		changed()
	}
}
