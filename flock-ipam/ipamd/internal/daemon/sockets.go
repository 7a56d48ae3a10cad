// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"time"

	"flock.fritzlab.net/flock/internal/task"
)

// guard returns a task that fails when a socket is no more at its path, for nobody can reach the daemon then: it is
// started again, and makes its sockets anew.
func guard(interval time.Duration, paths ...string) (task.Task, error) {
	own := map[string]fs.FileInfo{}
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, fmt.Errorf("guard sockets: %w", err)
		}
		own[path] = info
	}
	return task.Func("sockets", func(ctx context.Context) error {
		for task.Sleep(ctx, interval) {
			for path, was := range own {
				if is, err := os.Lstat(path); err != nil || !os.SameFile(was, is) {
					return fmt.Errorf("%s is no more this daemon's: it was removed, or another daemon was started", path)
				}
			}
		}
		return nil
	}), nil
}
