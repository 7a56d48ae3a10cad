// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func counters(t *testing.T, s Store) (c Counters) {
	t.Helper()
	view(t, s, func(tx *Tx) (err error) {
		c, err = tx.Counters()
		return err
	})
	return c
}

func histogram(durations ...time.Duration) (h Histogram) {
	for _, d := range durations {
		h.add(d)
	}
	return h
}

// TestCounters: what is tried in vain, or twice, is not counted twice.
func TestCounters(t *testing.T) {
	begun := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	at := func(alloc Allocation) Allocation {
		alloc.State, alloc.Allocated = Pending, begun
		return alloc
	}
	delegated := at(allocation("d", "fd00::4"))
	delegated.State, delegated.CommittedAt = Committed, begun.Add(3*time.Millisecond)
	a, b := at(allocation("a", "fd00::1")), at(allocation("b", "fd00::2"))
	steps := []struct {
		name string
		do   func(*Tx) error
		want Counters
	}{
		{"nothing", func(*Tx) error { return nil }, Counters{}},
		{"allocate", func(tx *Tx) error { return errors.Join(tx.Put(a), tx.Put(b)) }, Counters{Allocated: 2}},
		{"allocate again", func(tx *Tx) error { return tx.Put(a) }, Counters{Allocated: 2}},
		{"taken", func(tx *Tx) error { _ = tx.Put(allocation("c", "fd00::1")); return nil }, Counters{Allocated: 2}},
		{"rolled back", func(tx *Tx) error { _ = tx.Put(allocation("c", "fd00::3")); return errRolledBack }, Counters{Allocated: 2}},
		{"commit", func(tx *Tx) error { return tx.Commit(a.Attachment, begun.Add(20*time.Millisecond)) },
			Counters{Allocated: 2, Committed: 1, Durations: histogram(20 * time.Millisecond)}},
		{"commit again", func(tx *Tx) error { return tx.Commit(a.Attachment, begun.Add(time.Second)) },
			Counters{Allocated: 2, Committed: 1, Durations: histogram(20 * time.Millisecond)}},
		{"release", func(tx *Tx) error {
			return errors.Join(tx.Release(a.Attachment, 1), tx.Release(b.Attachment, 1), tx.Release(b.Attachment, 1))
		}, Counters{Allocated: 2, Committed: 1, Undone: 1, Durations: histogram(20 * time.Millisecond)}},
		{"delegated", func(tx *Tx) error { return tx.Put(delegated) },
			Counters{Allocated: 3, Committed: 2, Undone: 1, Durations: histogram(20*time.Millisecond, 3*time.Millisecond)}},
		{"refuse", func(tx *Tx) error { return errors.Join(tx.Refuse(101), tx.Refuse(101), tx.Refuse(11)) },
			Counters{Allocated: 3, Committed: 2, Undone: 1, Refused: map[uint]uint64{101: 2, 11: 1},
				Durations: histogram(20*time.Millisecond, 3*time.Millisecond)}},
	}
	s := newStore(t)
	if got := counters(t, s); !cmp.Equal(got, Counters{}) {
		t.Errorf("no store: %+v", got)
	}
	for _, step := range steps {
		if err := s.Update(step.do); err != nil && !errors.Is(err, errRolledBack) {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, counters(t, s)); diff != "" {
			t.Errorf("%s: counters (-want +got):\n%s", step.name, diff)
		}
	}
	if err := s.Verify(); err != nil {
		t.Error("verify:", err)
	}
}

var errRolledBack = errors.New("rolled back")

func TestHistogram(t *testing.T) {
	h := histogram(-time.Second, time.Millisecond, time.Millisecond+1, 10*time.Second, 10*time.Second+1, 1<<62)
	want := Histogram{Sum: time.Millisecond + time.Millisecond + 1 + 20*time.Second + 1 + time.Hour}
	want.Buckets[0], want.Buckets[1], want.Buckets[12], want.Buckets[13] = 2, 1, 1, 2
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error("histogram (-want +got):\n" + diff)
	}
	count, upTo := h.Cumulative()
	if count != 6 || len(upTo) != len(Bounds) || upTo[0.001] != 2 || upTo[0.002] != 3 || upTo[5] != 3 || upTo[10] != 4 {
		t.Errorf("cumulative: %d, %v", count, upTo)
	}
}

// TestCountersOfAnotherVersion: they begin anew, and fail no ADD.
func TestCountersOfAnotherVersion(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error { return tx.totals.put(totalsKey, "text") })
	update(t, s, func(tx *Tx) error { return tx.Put(numbered(1)) })
	if got := counters(t, s); got.Allocated != 1 {
		t.Errorf("allocated %d, want 1", got.Allocated)
	}
}

// TestCountersBeginWithTheStore: a store that is begun again has its allocations, and counts from zero.
func TestCountersBeginWithTheStore(t *testing.T) {
	s := newStore(t)
	alloc := numbered(1)
	update(t, s, func(tx *Tx) error { return tx.Put(alloc) })
	s.Rebuild = func() ([]Allocation, error) { return []Allocation{alloc}, nil }
	if err := os.Truncate(s.path(), 100); err != nil {
		t.Fatal(err)
	}
	s.Warn = func(string) {}
	update(t, s, func(*Tx) error { return nil })
	if got := counters(t, s); !cmp.Equal(got, Counters{}) || len(all(t, s)) != 1 {
		t.Errorf("begun again with %d allocations and %+v", len(all(t, s)), got)
	}
}
