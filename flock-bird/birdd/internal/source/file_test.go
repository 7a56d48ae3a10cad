// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = "apiVersion: flock.fritzlab.net/v1alpha1\nkind: NodeConfig\nmetadata: {name: node-1}\nspec: {mtu: 9000}\n"

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrAbsent) {
		t.Errorf("Read of nothing: %v", err)
	}
	write(t, path, good)
	if c, err := Read(path); err != nil || c.MTU != 9000 {
		t.Errorf("Read = %+v, %v", c, err)
	}
	write(t, path, strings.Replace(good, "{mtu: 9000}", "{mtu: 1, pools: [{name: x, cidr: y}]}", 1))
	if _, err := Read(path); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "spec.mtu") || !strings.Contains(err.Error(), "spec.pools[0]") {
		t.Errorf("Read of two mistakes: %v", err)
	}
	write(t, path, "spec: [")
	if _, err := Read(path); !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "invalid: ") {
		t.Errorf("Read of no YAML: %v", err)
	}
}
