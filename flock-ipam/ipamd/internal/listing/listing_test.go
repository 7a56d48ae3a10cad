// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// filled returns the state folder of a store with two pods, one of them named by a joker.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := store.Store{Dir: dir}.Update(func(tx *store.Tx) error {
		for _, alloc := range []store.Allocation{
			{
				Attachment: cni.Attachment{Network: "flock", ContainerID: strings.Repeat("ab", 32), IfName: "eth0"},
				State:      store.Committed,
				Pod:        cni.Pod{Namespace: "web", Name: "front-1"},
				Addresses:  []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.1")},
				Anycast:    []netip.Addr{netip.MustParseAddr("2001:db8::53")},
				Allocated:  now.Add(-90 * time.Minute),
			},
			{
				Attachment: cni.Attachment{Network: "flock", ContainerID: "joker", IfName: "eth0"},
				State:      store.Pending,
				Pod:        cni.Pod{Namespace: "a", Name: "\x1b[2J"},
				Addresses:  []netip.Addr{netip.MustParseAddr("10.0.0.2")},
			},
		} {
			if err := tx.Put(alloc); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTable(t *testing.T) {
	list, err := Read(filled(t))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := list.WriteTable(&out, now); err != nil {
		t.Fatal(err)
	}
	want := `POD          NETWORK  CONTAINER     INTERFACE  STATE      AGE  ADDRESSES             ANYCAST
a/�[2J       flock    joker         eth0       pending    -    10.0.0.2              -
web/front-1  flock    abababababab  eth0       committed  1h   2001:db8::1,10.0.0.1  2001:db8::53
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	for name, test := range map[string]struct {
		dir  string
		want int
	}{"filled": {filled(t), 2}, "absent": {filepath.Join(t.TempDir(), "absent"), 0}} {
		list, err := Read(test.dir)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := list.WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		var got List
		if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Allocations) != test.want || strings.Contains(out.String(), "null") {
			t.Errorf("%s: %d allocations, want %d, and no null:\n%s", name, len(got.Allocations), test.want, out.String())
		}
	}
}

// TestDamaged: the list warns of damaged stores that were kept, and repairs none itself.
func TestDamaged(t *testing.T) {
	dir := filled(t)
	kept := filepath.Join(dir, "store.db.damaged-1")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var warnings strings.Builder
	list.WriteWarnings(&warnings)
	if len(list.Allocations) != 2 || !strings.Contains(warnings.String(), kept) {
		t.Errorf("%d allocations and warnings %q, want 2 and one about %s", len(list.Allocations), &warnings, kept)
	}
	if err := os.Truncate(filepath.Join(dir, "store.db"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Read() = %v, want the damage", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "store.db")); err != nil || info.Size() != 100 {
		t.Errorf("the damaged store was touched: %v, %v", info, err)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m", time.Hour: "1h", 47 * time.Hour: "47h",
		48 * time.Hour: "2d", 2400 * time.Hour: "100d", -time.Second: "-",
	} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("age %s: %q, want %q", d, got, want)
		}
	}
}
