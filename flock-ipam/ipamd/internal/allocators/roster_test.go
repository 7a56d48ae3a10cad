// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestRebooted: what was given before a reboot is taken back, also where no pool names the allocator any more. Then it
// is forgotten.
func TestRebooted(t *testing.T) {
	y := newYard(t, "a")
	y.Names = filepath.Join(t.TempDir(), "lib", "allocators.json")
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.put("x", "10.0.0.1")
	y.stop()
	if err := os.Remove(y.Names); err != nil { // as that of an ipamd which wrote none
		t.Fatal(err)
	}
	y.again()
	y.rounds("a", "x")
	y.mu.Lock()
	y.specs = nil
	y.mu.Unlock()
	y.PoolsChanged()
	y.rounds("a", "x")
	y.stop()
	for _, path := range []string{filepath.Join(y.Store.Dir, "store.db"), y.Roster} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	y.again()
	y.rounds("a", "x")
	y.clock.Add(int64(onItsWay))
	y.has("a", "")
	y.eventually("it is forgotten", func() error {
		raw, err := os.ReadFile(y.Names)
		if err == nil && string(raw) != "[]" {
			err = errors.New(string(raw))
		}
		return err
	})
}

// TestNoteInOrder: what is noted last is what was last.
func TestNoteInOrder(t *testing.T) {
	r, err := openRoster(filepath.Join(t.TempDir(), "roster"), "")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	err = r.set("a", func() []entry {
		go func() { done <- r.set("a", func() []entry { return []entry{{Attachment: one("new")}} }) }()
		return []entry{{Attachment: one("old")}}
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if got := r.of("a"); len(got) != 1 || got[0].ContainerID != "new" {
		t.Errorf("noted: %v", got)
	}
}
