// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"flock.fritzlab.net/flock/internal/lookup"
)

// TestOtherStore: who keeps what it is given in another store is given nothing, for it would be taken back from a pod that
// has it.
func TestOtherStore(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	other, same := t.TempDir(), filepath.Join(t.TempDir(), "same")
	if err := os.Symlink(y.Store.Dir, same); err != nil {
		t.Fatal(err)
	}
	w := lookup.Want{Attachment: one("x"), Pool: "by-a", Within: netip.MustParsePrefix("10.0.0.0/24")}
	for _, dir := range []string{other, "/not/there"} {
		w.StateDir = dir
		want := "allocate for stateDir " + dir + ": it is another ipamd's store, and this one's is " + y.Store.Dir +
			": set socket to that of the ipamd of this stateDir, or remove stateDir"
		if addr, err := y.Allocate(t.Context(), w); !errors.Is(err, lookup.ErrOtherStore) || err.Error() != want {
			t.Errorf("%s: %s, %v; want %s", dir, addr, err, want)
		}
	}
	if has := y.ext["a"].has(); has != "" {
		t.Errorf("it has given to %s", has)
	}
	for _, dir := range []string{same, y.Store.Dir + "/"} {
		w.StateDir = dir
		if addr, err := y.Allocate(t.Context(), w); err != nil || addr.String() != "10.0.0.1" {
			t.Errorf("%s: %s, %v", dir, addr, err)
		}
	}
}
