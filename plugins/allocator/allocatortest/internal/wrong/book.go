// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// load reads what was given before.
func (b *book) load() error {
	raw, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) || is("forgets") {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &b.given)
	}
	if err != nil {
		return fmt.Errorf("read what was given: %w", err)
	}
	return nil
}

// save writes what is given now, all of it or nothing.
func (b *book) save() error {
	raw, err := json.Marshal(b.given)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.path+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(b.path+".new", b.path)
}
