// SPDX-License-Identifier: Apache-2.0

package filewatch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	w, err := Watch(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- w.Run(ctx, func() { changed <- struct{}{} }) }()

	other := filepath.Join(dir, "next")
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"written", func() error { return os.WriteFile(path, []byte("a"), 0o600) }},
		{"replaced", func() error { return os.Rename(path, other) }},
		{"put back", func() error { return os.Rename(other, path) }},
		{"made a link", func() error { return os.Symlink("elsewhere", filepath.Join(dir, "..data")) }},
		{"removed", func() error { return os.Remove(path) }},
	} {
		for len(changed) > 0 {
			<-changed
		}
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: not told", step.name)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run() = %v after the context ended", err)
	}
}

func TestWatchAbsentFolder(t *testing.T) {
	if _, err := Watch(filepath.Join(t.TempDir(), "absent", "config.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Watch() = %v, want that the folder is missing", err)
	}
}
