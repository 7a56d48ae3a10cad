// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of nothing: %v", err)
	}
	write(t, path, good)
	if c, err := Read(path); err != nil || c.MTU != 9000 {
		t.Errorf("Read = %+v, %v", c, err)
	}
	write(t, path, strings.Replace(good, "{mtu: 9000}", "{mtu: 1, pools: [{name: x, cidr: y}]}", 1))
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "spec.mtu") || !strings.Contains(err.Error(), "spec.pools[0]") {
		t.Errorf("Read of two mistakes: %v", err)
	}
}

// TestWatch changes the file in every way that editors and Kubernetes do.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.yaml")
	w, err := Watch(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx, func() { changed <- struct{}{} }) }()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"create", func() error { return os.WriteFile(path, []byte(good), 0o600) }},
		{"write in place", func() error { return os.WriteFile(path, []byte(good+"#"), 0o600) }},
		{"rename over", func() error {
			other := filepath.Join(t.TempDir(), "other")
			return errors.Join(os.WriteFile(other, []byte(good), 0o600), os.Rename(other, path))
		}},
		{"remove", func() error { return os.Remove(path) }},
		{"symbolic link", func() error { return os.Symlink("elsewhere", path) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: not told", step.name)
		}
		for len(changed) > 0 { // one step may be several events
			<-changed
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := Watch(filepath.Join(dir, "absent", "node.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Watch in no folder: %v", err)
	}
}
