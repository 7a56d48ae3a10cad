// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPutGivesAnAddressOneOwner(t *testing.T) {
	tests := []struct {
		name  string
		put   Allocation
		taken string // owner
		err   string
		want  map[string]string
	}{
		{name: "free", put: allocation("b", "fd00::3"),
			want: map[string]string{"fd00::1": "a", "10.0.0.1": "a", "fd00::3": "b"}},
		{name: "taken", put: allocation("b", "fd00::3", "10.0.0.1"), taken: "a",
			want: map[string]string{"fd00::1": "a", "10.0.0.1": "a"}},
		{name: "same again", put: allocation("a", "fd00::1", "10.0.0.1"),
			want: map[string]string{"fd00::1": "a", "10.0.0.1": "a"}},
		{name: "with a zone", put: allocation("b", "fd00::3", "fe80::1%eth0"), err: "no address without a zone",
			want: map[string]string{"fd00::1": "a", "10.0.0.1": "a"}},
		{name: "no address", put: Allocation{Attachment: attachment("b"), Addresses: []netip.Addr{{}}}, err: "no address without a zone",
			want: map[string]string{"fd00::1": "a", "10.0.0.1": "a"}},
		{name: "one more", put: allocation("a", "fd00::1", "10.0.0.1", "fd00::2"),
			want: map[string]string{"fd00::1": "a", "10.0.0.1": "a", "fd00::2": "a"}},
		{name: "one fewer", put: allocation("a", "fd00::1"), err: "has 10.0.0.1 already",
			want: map[string]string{"fd00::1": "a", "10.0.0.1": "a"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			update(t, s, func(tx *Tx) error { return tx.Put(allocation("a", "fd00::1", "10.0.0.1")) })
			var err error
			// The error is swallowed on purpose: even then nothing is half done.
			update(t, s, func(tx *Tx) error { err = tx.Put(test.put); return nil })
			var taken *TakenError
			if errors.As(err, &taken) != (test.taken != "") || (taken != nil && taken.Owner != attachment(test.taken)) {
				t.Errorf("put: %v, want an address taken by %q", err, test.taken)
			}
			if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("put: %v, want an error with %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, owners(t, s)); diff != "" {
				t.Error("owners (-want +got):\n" + diff)
			}
			if err := s.Verify(); err != nil {
				t.Error("verify:", err)
			}
		})
	}
}

func TestAllocationIsKept(t *testing.T) {
	s := newStore(t)
	want := numbered(7)
	want.Anycast = []netip.Addr{netip.MustParseAddr("2001:db8::53")}
	update(t, s, func(tx *Tx) error { return tx.Put(want) })
	if diff := cmp.Diff([]Allocation{want}, all(t, s), cmpAddr); diff != "" {
		t.Error("allocations (-want +got):\n" + diff)
	}
	now := time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)
	for _, at := range []time.Time{now, now.Add(time.Hour)} { // the second time changes nothing
		update(t, s, func(tx *Tx) error { return tx.Commit(want.Attachment, at) })
	}
	update(t, s, func(tx *Tx) error { return tx.Commit(attachment("absent"), now) })
	want.State, want.CommittedAt = Committed, now
	if diff := cmp.Diff([]Allocation{want}, all(t, s), cmpAddr); diff != "" {
		t.Error("allocations after commit (-want +got):\n" + diff)
	}
}

// TestReleaseComparesTheOwner: an address that went to somebody else stays his.
func TestReleaseComparesTheOwner(t *testing.T) {
	s := newStore(t)
	stolen := netip.MustParseAddr("fd00::1")
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.Put(allocation("a", "fd00::1", "fd00::2")),
			tx.addresses.put(addressKey(stolen), Holder{Owner: attachment("b")}),
			tx.Release(attachment("a"), 5),
			tx.Release(attachment("a"), 6),
			tx.Release(attachment("absent"), 6))
	})
	if diff := cmp.Diff(map[string]string{"fd00::1": "b", "fd00::2": ""}, owners(t, s)); diff != "" {
		t.Error("owners (-want +got):\n" + diff)
	}
	if got := released(t, s); got != "fd00::2@5" {
		t.Errorf("released %q, want fd00::2@5", got)
	}
	if list := all(t, s); len(list) > 0 {
		t.Errorf("allocations %v, want none", list)
	}
}

// released prints what cools down, "address@nanoseconds" each.
func released(tb testing.TB, s Store) string {
	tb.Helper()
	var list []string
	view(tb, s, func(tx *Tx) error {
		return tx.Released(func(a netip.Addr, at time.Duration) bool {
			list = append(list, fmt.Sprintf("%s@%d", a, at))
			return true
		})
	})
	return strings.Join(list, " ")
}

func TestCooling(t *testing.T) {
	tests := []struct {
		name   string
		holder Holder
		now    time.Duration
		want   bool
	}{
		{"owned", Holder{Owner: attachment("a")}, 100, false},
		{"just released", Holder{Released: 100}, 100, true},
		{"cooling", Holder{Released: 100}, 119, true},
		{"cold", Holder{Released: 100}, 120, false},
		{"of an earlier boot", Holder{Released: 1000}, 100, false},
	}
	for _, test := range tests {
		if got := test.holder.Cooling(test.now, 20); got != test.want {
			t.Errorf("%s: cooling %v, want %v", test.name, got, test.want)
		}
	}
}

func TestReleasedInOrderOfTime(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		for i, at := range []time.Duration{30, 10, 20, 40} {
			id := fmt.Sprint("c", i)
			err := errors.Join(tx.Put(allocation(id, fmt.Sprintf("fd00::%d", i), fmt.Sprintf("10.0.0.%d", i))), tx.Release(attachment(id), at))
			if err != nil {
				return err
			}
		}
		// Two are taken while they cool, and one of them is released once more.
		return errors.Join(tx.Put(allocation("d", "fd00::1")), tx.Put(allocation("e", "10.0.0.2")), tx.Release(attachment("e"), 50))
	})
	want := "10.0.0.1@10 fd00::2@20 10.0.0.0@30 fd00::@30 10.0.0.3@40 fd00::3@40 10.0.0.2@50"
	if got := released(t, s); got != want {
		t.Errorf("released\n got %s\nwant %s", got, want)
	}
	view(t, s, func(tx *Tx) error {
		n := 0
		err := tx.Released(func(netip.Addr, time.Duration) bool { n++; return false })
		if n != 1 {
			t.Errorf("released: %d calls after false, want 1", n)
		}
		return err
	})
}

func TestPrune(t *testing.T) {
	tests := []struct {
		name        string
		before, now time.Duration
		limit       int
		want        string
		known       int // addresses that are still known, taken ones included
	}{
		{"nothing is old", 5, 100, 10, "fd00::1@10 fd00::2@20 fd00::3@30 fd00::4@40", 5},
		{"two are old", 30, 100, 10, "fd00::3@30 fd00::4@40", 3},
		{"one at a time", 30, 100, 1, "fd00::2@20 fd00::3@30 fd00::4@40", 4},
		{"none at a time", 30, 100, 0, "fd00::1@10 fd00::2@20 fd00::3@30 fd00::4@40", 5},
		{"two of an earlier boot", 5, 25, 10, "fd00::1@10 fd00::2@20", 3},
		{"old and of an earlier boot", 15, 25, 10, "fd00::2@20", 2},
		{"all", 1000, 1000, 10, "", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			update(t, s, func(tx *Tx) error {
				for i := 1; i <= 5; i++ {
					id := fmt.Sprint("c", i)
					if err := errors.Join(tx.Put(allocation(id, fmt.Sprintf("fd00::%d", i))), tx.Release(attachment(id), time.Duration(i*10))); err != nil {
						return err
					}
				}
				return tx.Put(allocation("taken", "fd00::5"))
			})
			update(t, s, func(tx *Tx) error { return tx.Prune(test.before, test.now, test.limit) })
			if got := released(t, s); got != test.want {
				t.Errorf("released\n got %s\nwant %s", got, test.want)
			}
			held := owners(t, s)
			if len(held) != test.known || held["fd00::5"] != "taken" {
				t.Errorf("known addresses %v, want %d, and fd00::5 taken", held, test.known)
			}
		})
	}
}

// TestPruneForgetsTheRecord: the entry of an address that was taken while it cooled goes too.
func TestPruneForgetsTheRecord(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.Put(allocation("a", "fd00::1")), tx.Release(attachment("a"), 10),
			tx.Put(allocation("b", "fd00::1")), tx.Prune(20, 30, 1))
	})
	view(t, s, func(tx *Tx) error {
		if key, _ := tx.released.Cursor().First(); key != nil {
			t.Errorf("record %x is left", key)
		}
		return nil
	})
	if diff := cmp.Diff(map[string]string{"fd00::1": "b"}, owners(t, s)); diff != "" {
		t.Error("owners (-want +got):\n" + diff)
	}
}

func TestScan(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		return tx.Put(allocation("a", "10.0.0.1", "10.0.0.9", "10.0.1.1", "9.255.255.255", "::1", "fd00::1", "fd00::ff", "fd00:0:0:1::1"))
	})
	tests := []struct{ prefix, from, want string }{
		{"10.0.0.0/24", "10.0.0.0", "10.0.0.1 10.0.0.9"},
		{"10.0.0.0/24", "10.0.0.2", "10.0.0.9"},
		{"10.0.0.0/24", "10.0.0.10", ""},
		{"fd00::/64", "fd00::", "fd00::1 fd00::ff"},
		{"fd00:0:0:2::/64", "fd00:0:0:2::", ""},
		{"0.0.0.0/0", "0.0.0.0", "9.255.255.255 10.0.0.1 10.0.0.9 10.0.1.1"},
	}
	for _, test := range tests {
		var got []string
		view(t, s, func(tx *Tx) error {
			return tx.Scan(netip.MustParsePrefix(test.prefix), netip.MustParseAddr(test.from), func(a netip.Addr, h Holder) bool {
				got = append(got, a.String())
				return true
			})
		})
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("scan %s from %s: %q, want %q", test.prefix, test.from, got, test.want)
		}
	}
}

func TestMissing(t *testing.T) {
	s := newStore(t)
	for _, want := range []bool{true, false} {
		view(t, s, func(tx *Tx) error {
			if got := tx.Missing(); got != want {
				t.Errorf("Missing() = %t, want %t", got, want)
			}
			return nil
		})
		update(t, s, func(*Tx) error { return nil })
	}
}
