// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"flock.fritzlab.net/flock/plugins/cni"
)

// living returns an allocation whose network namespace is alive.
func living(id string, at int, addrs ...string) Allocation {
	alloc := allocation(id, addrs...)
	alloc.Netns = "/proc/self/ns/net"
	alloc.Allocated = time.Date(2026, 1, 1, 0, 0, at, 0, time.UTC)
	return alloc
}

// TestSalvage: what is known of living attachments survives a damaged file, also where the kernel shows
// nothing of it.
func TestSalvage(t *testing.T) {
	pod := cni.Pod{Namespace: "default", Name: "web", UID: "1"}
	veth := living("veth", 1, "fd00::1")
	veth.Pod, veth.State, veth.Anycast = pod, Committed, []netip.Addr{netip.MustParseAddr("fd00::53")}
	shown := allocation("veth", "fd00::1", "fd00::f") // the kernel has a route more, and knows no pod
	shown.State = Committed
	dead := allocation("dead", "fd00::3")
	dead.Netns = "/run/netns/absent"
	both := veth
	both.Addresses = shown.Addresses

	tests := []struct {
		name   string
		store  []Allocation
		kernel []Allocation
		want   []Allocation
	}{
		{"kernel alone", nil, []Allocation{shown}, []Allocation{shown}},
		{"more than the kernel knows", []Allocation{veth}, []Allocation{shown}, []Allocation{both}},
		{"delegated or pending", []Allocation{living("macvlan", 1, "fd00::2")}, nil, []Allocation{living("macvlan", 1, "fd00::2")}},
		{"dead", []Allocation{dead}, nil, nil},
		{"the kernel wins", []Allocation{living("macvlan", 1, "fd00::1", "fd00::2")}, []Allocation{shown},
			[]Allocation{shown, living("macvlan", 1, "fd00::2")}},
		{"one address on two links", nil, []Allocation{shown, allocation("twin", "fd00::1")}, []Allocation{shown}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPatient(t, spoilt(t, test.store))
			p.Rebuild = func() ([]Allocation, error) { return test.kernel, nil }
			sorted := cmpopts.SortSlices(func(a, b Allocation) bool { return a.Attachment.ContainerID < b.Attachment.ContainerID })
			if diff := cmp.Diff(test.want, all(t, p.Store), cmpAddr, sorted); diff != "" {
				t.Error("allocations (-want +got):\n" + diff)
			}
			if len(p.warnings) != 1 {
				t.Errorf("warnings %q, want one", p.warnings)
			}
		})
	}
}

// spoilt returns the content of a store with these allocations whose meta pages are gone.
func spoilt(t *testing.T, allocs []Allocation) []byte {
	t.Helper()
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		for _, alloc := range allocs {
			if err := tx.Put(alloc); err != nil {
				return err
			}
		}
		return nil
	})
	content, err := os.ReadFile(s.path())
	if err != nil {
		t.Fatal(err)
	}
	return append(make([]byte, 8192), content[8192:]...)
}

// TestSalvageTakesTheLatest: pages out of use hold attachments that are gone and earlier versions.
func TestSalvageTakesTheLatest(t *testing.T) {
	s := newStore(t)
	content := make([]byte, 8192)
	for _, change := range []func(*Tx) error{
		func(tx *Tx) error {
			return errors.Join(tx.Put(living("old", 1, "fd00::1")), tx.Put(living("new", 1, "fd00::2")))
		},
		func(tx *Tx) error {
			return errors.Join(tx.Release(attachment("old"), 1), tx.Release(attachment("new"), 1))
		},
		func(tx *Tx) error { return tx.Put(living("new", 2, "fd00::1")) },
		func(tx *Tx) error {
			return tx.Commit(attachment("new"), time.Date(2026, 1, 1, 0, 0, 3, 0, time.UTC))
		},
	} {
		update(t, s, change)
		content = append(content, pagesAt(t, s, len(content)/4096)...)
	}
	p := newPatient(t, content)
	p.Rebuild = nil
	got := all(t, p.Store)
	if len(got) != 1 || got[0].Attachment != attachment("new") || got[0].State != Committed || len(got[0].Addresses) != 1 {
		t.Errorf("allocations %v, want the committed one of container new", got)
	}
}

// pagesAt returns the pages of the store, as if the file had them from the given one on.
func pagesAt(t *testing.T, s Store, first int) []byte {
	t.Helper()
	content, err := os.ReadFile(s.path())
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(content); at += 4096 {
		native.PutUint64(content[at:], uint64(first+at/4096))
	}
	return content
}

func TestNetnsAlive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "left-behind")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/proc/self/ns/net": true, "": false, "/absent": false, file: false, file + "/x": false} {
		if got, err := (Allocation{Netns: path}).NetnsAlive(); got != want || err != nil {
			t.Errorf("%q: alive %v, %v; want %v", path, got, err, want)
		}
	}
}

// TestSalvageRecords: notes of the living, cool-downs and cursors survive; what was released does not
// come back, even where its network namespace is alive.
func TestSalvageRecords(t *testing.T) {
	s := newStore(t)
	a, b, dead := living("a", 1, "fd00::1"), living("b", 1, "fd00::2"), attachment("dead")
	pool, last := netip.MustParsePrefix("10.0.0.0/24"), netip.MustParseAddr("10.0.0.7")
	chained := cni.Attachment{Network: "other", ContainerID: "chained", IfName: "eth0"}
	type claim struct {
		Netns string `json:"netns"`
	}
	content := make([]byte, 8192)
	for _, change := range []func(*Tx) error{
		func(tx *Tx) error {
			return errors.Join(tx.Put(a), tx.Put(b), tx.SetCursor(pool, last),
				tx.SetNote("ipam", a.Attachment, []string{"subnet"}), tx.SetNote("ipam", dead, []string{"subnet"}),
				tx.SetNote("route", chained, claim{a.Netns}), tx.SetNote("route/fd00::9", chained, 1),
				tx.SetNote("route", dead, claim{"/absent"}))
		},
		func(tx *Tx) error { return tx.Release(b.Attachment, 5) },
	} {
		update(t, s, change)
		content = append(content, pagesAt(t, s, len(content)/4096)...)
	}
	p := newPatient(t, content)
	p.Rebuild = nil
	if got := all(t, p.Store); len(got) != 1 || got[0].Attachment != a.Attachment {
		t.Errorf("allocations %v, want that of container a", got)
	}
	if got := released(t, p.Store); got != "fd00::2@5" {
		t.Errorf("released %q, want fd00::2@5", got)
	}
	view(t, p.Store, func(tx *Tx) error {
		var got []string
		err := each(tx.notes, nil, nil, func(key []byte, _ any) (bool, error) {
			stage, a, err := parseNoteKey(key)
			got = append(got, stage+" "+a.ContainerID)
			return true, err
		})
		if diff := cmp.Diff([]string{"ipam a", "route chained", "route/fd00::9 chained"}, got); diff != "" {
			t.Error("notes (-want +got):\n" + diff)
		}
		cursor, _, err2 := tx.Cursor(pool)
		if cursor != last {
			t.Errorf("cursor %v, want %v", cursor, last)
		}
		return errors.Join(err, err2)
	})
	if err := p.Verify(); err != nil {
		t.Error("verify:", err)
	}
}

// TestSalvageTheKernelWins: an address that is in use does not cool down, whatever the old store says.
func TestSalvageTheKernelWins(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.Put(living("a", 1, "fd00::1")), tx.Release(attachment("a"), 5))
	})
	content, err := os.ReadFile(s.path())
	if err != nil {
		t.Fatal(err)
	}
	p := newPatient(t, append(make([]byte, 8192), content[8192:]...))
	p.Rebuild = func() ([]Allocation, error) { return []Allocation{allocation("b", "fd00::1")}, nil }
	if diff := cmp.Diff(map[string]string{"fd00::1": "b"}, owners(t, p.Store)); diff != "" {
		t.Error("owners (-want +got):\n" + diff)
	}
}

func FuzzSalvage(f *testing.F) {
	content := sample(f)
	f.Add(content)
	f.Add(bytes.Repeat([]byte{0xff}, 8192))
	f.Fuzz(func(t *testing.T, content []byte) {
		left, err := Store{}.survivors(content)
		if err != nil || len(left.allocations) > 0 {
			t.Errorf("salvaged %v, %v, whose network namespace is not there", left.allocations, err)
		}
		verify(content)
	})
}
