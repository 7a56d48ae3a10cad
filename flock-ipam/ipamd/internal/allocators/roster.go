// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// readRoster returns the names in the file.
func readRoster(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read which allocators have given something: %w", err)
	}
	return strings.Fields(string(raw)), nil
}

// writeRoster replaces the names in the file, a line for each, unless they are these already.
func writeRoster(path string, old, names []string) error {
	if slices.Equal(old, names) {
		return nil
	}
	fresh := path + ".new"
	err := os.WriteFile(fresh, []byte(strings.Join(append(slices.Clone(names), ""), "\n")), 0o600)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return fmt.Errorf("write which allocators have given something: %w", err)
	}
	return nil
}
