// SPDX-License-Identifier: Apache-2.0

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/engine"
)

// marker is a file that is written while there are sessions, until they have been ended for good. It lies where a reboot
// of the node removes it. Without a folder there is never one.
type marker struct{ dir string }

func (m marker) file() string { return filepath.Join(m.dir, "speaker-gobgp.ran") }

// recent tells whether the marker was written so lately that routers may still have the routes of then. One that is older
// is of a speaker that another has followed.
func (m marker) recent() bool {
	info, err := os.Stat(m.file())
	return m.dir != "" && err == nil && time.Since(info.ModTime()) < engine.RestartTime+scanEvery
}

func (m marker) write() error {
	if m.dir == "" {
		return nil
	}
	if err := os.WriteFile(m.file(), nil, 0o600); err != nil {
		return fmt.Errorf("note that the speaker ran: %w", err)
	}
	return nil
}

func (m marker) remove() error {
	if m.dir == "" {
		return nil
	}
	if err := os.Remove(m.file()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget that the speaker ran: %w", err)
	}
	return nil
}
