// SPDX-License-Identifier: Apache-2.0

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// marker is a file that is there once sessions were configured, until they have been ended for good. It lies where a
// reboot of the node removes it. Without a folder there is never one.
type marker struct{ dir string }

func (m marker) file() string { return filepath.Join(m.dir, "speaker-gobgp.ran") }

func (m marker) exists() bool {
	_, err := os.Stat(m.file())
	return m.dir != "" && err == nil
}

func (m marker) write() error {
	if m.dir == "" || m.exists() {
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
