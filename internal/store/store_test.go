// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/cni"
)

// newStore returns a store in a folder of its own that must not warn.
func newStore(tb testing.TB) Store {
	return Store{Dir: tb.TempDir(), Warn: func(text string) { tb.Error("warned:", text) }}
}

func update(tb testing.TB, s Store, fn func(*Tx) error) {
	tb.Helper()
	if err := s.Update(fn); err != nil {
		tb.Fatal("update:", err)
	}
}

func view(tb testing.TB, s Store, fn func(*Tx) error) {
	tb.Helper()
	if err := s.View(fn); err != nil {
		tb.Fatal("view:", err)
	}
}

// all returns the store's allocations.
func all(tb testing.TB, s Store) (list []Allocation) {
	tb.Helper()
	view(tb, s, func(tx *Tx) error {
		return tx.All(func(a Allocation) error { list = append(list, a); return nil })
	})
	return list
}

// owners returns who has which address, "" for a free one.
func owners(tb testing.TB, s Store) map[string]string {
	tb.Helper()
	got := map[string]string{}
	view(tb, s, func(tx *Tx) error {
		for _, all := range []string{"::/0", "0.0.0.0/0"} {
			prefix := netip.MustParsePrefix(all)
			if err := tx.Scan(prefix, prefix.Addr(), func(a netip.Addr, h Holder) bool {
				got[a.String()] = h.Owner.ContainerID
				return true
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return got
}

func attachment(id string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: id, IfName: "eth0"}
}

func allocation(id string, addrs ...string) Allocation {
	alloc := Allocation{Attachment: attachment(id), State: Pending}
	for _, a := range addrs {
		alloc.Addresses = append(alloc.Addresses, netip.MustParseAddr(a))
	}
	return alloc
}

var cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestViewOfAbsentStore(t *testing.T) {
	s := newStore(t)
	empty := t.TempDir()
	for _, dir := range []string{filepath.Join(empty, "absent"), s.Dir} {
		s.Dir = dir
		view(t, s, func(tx *Tx) error {
			a, addr, pool := attachment("a"), netip.MustParseAddr("fd00::1"), netip.MustParsePrefix("fd00::/64")
			_, allocated, err1 := tx.Get(a)
			_, held, err2 := tx.Holder(addr)
			_, given, err3 := tx.Cursor(pool)
			var n int
			noted, err4 := tx.Note("stage", a, &n)
			if allocated || held || given || noted {
				t.Errorf("%s: get %v, holder %v, cursor %v, note %v; want nothing", dir, allocated, held, given, noted)
			}
			unexpected := errors.New("called")
			return errors.Join(err1, err2, err3, err4,
				tx.All(func(Allocation) error { return unexpected }),
				tx.Scan(pool, addr, func(netip.Addr, Holder) bool { t.Error("scan: called"); return true }),
				tx.Released(func(netip.Addr, time.Duration) bool { t.Error("released: called"); return true }),
				Notes(tx, "stage", func(cni.Attachment, int) error { return unexpected }))
		})
	}
	if list, err := os.ReadDir(empty); err != nil || len(list) > 0 {
		t.Errorf("a View made %v, %v", list, err)
	}
}

func TestFailedUpdateLeavesNoTrace(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error { return tx.Put(allocation("a", "fd00::1")) })
	refused := errors.New("refused")
	err := s.Update(func(tx *Tx) error {
		err := errors.Join(tx.Put(allocation("b", "fd00::2")), tx.Release(attachment("a"), 7), tx.SetNote("stage", attachment("b"), 1))
		return errors.Join(err, refused)
	})
	if !errors.Is(err, refused) {
		t.Fatalf("update: %v, want the function's own error", err)
	}
	if diff := cmp.Diff(map[string]string{"fd00::1": "a"}, owners(t, s)); diff != "" {
		t.Error("owners (-want +got):\n" + diff)
	}
}

// TestPanicOfFunction: a defect of the program is not damage, and the store works afterwards.
func TestPanicOfFunction(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error { return tx.Put(allocation("a", "fd00::1")) })
	for name, run := range map[string]func(func(*Tx) error) error{"update": s.Update, "view": s.View} {
		func() {
			defer func() {
				if r := recover(); r != "own defect" {
					t.Errorf("%s: recovered %v, want the function's own panic", name, r)
				}
			}()
			run(func(*Tx) error { panic("own defect") })
		}()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Update(func(tx *Tx) error { runtime.Goexit(); return nil })
	}()
	<-ended
	update(t, s, func(tx *Tx) error { return tx.Put(allocation("b", "fd00::2")) })
	if diff := cmp.Diff(map[string]string{"fd00::1": "a", "fd00::2": "b"}, owners(t, s)); diff != "" {
		t.Error("owners (-want +got):\n" + diff)
	}
}

// TestNotAStore: what is in the way is not damage, and is named.
func TestNotAStore(t *testing.T) {
	tests := []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"folder is a file", func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) }, "make the state folder"},
		{"lock is a folder", func(dir string) error { return os.Mkdir(filepath.Join(dir, lockName), 0o700) }, lockName},
		{"file is a folder", func(dir string) error { return os.Mkdir(filepath.Join(dir, fileName), 0o700) }, fileName},
		{"file is a pipe", func(dir string) error { return unix.Mkfifo(filepath.Join(dir, fileName), 0o600) }, "not a regular file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			if err := test.make(s.Dir); err != nil {
				t.Fatal(err)
			}
			nothing := func(*Tx) error { return nil }
			for verb, err := range map[string]error{"update": s.Update(nothing), "view": s.View(nothing)} {
				if err == nil || !strings.Contains(err.Error(), test.want) || isDamage(err) {
					t.Errorf("%s: %v, want an error about %q that is no damage", verb, err, test.want)
				}
			}
		})
	}
}
