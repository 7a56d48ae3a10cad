// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
)

// TestCostDoesNotGrow: a transaction works on its own path through the file, not on all of it. Memory is
// counted instead of time, which depends on who else uses the machine.
func TestCostDoesNotGrow(t *testing.T) {
	cost := func(n int) float64 {
		s := newStore(t)
		fill(t, s, n)
		alloc := numbered(n)
		return testing.AllocsPerRun(20, func() {
			update(t, s, func(tx *Tx) error { return tx.Put(alloc) })
			update(t, s, func(tx *Tx) error { return tx.Release(alloc.Attachment, 0) })
		})
	}
	if few, many := cost(10), cost(12000); many > 2*few {
		t.Errorf("%.0f allocations of memory with 12,000 attachments, %.0f with 10", many, few)
	}
}

// BenchmarkAttach is what one ADD and one DEL cost at least: open, allocate, close; open, release, close.
func BenchmarkAttach(b *testing.B) {
	for _, n := range []int{10, 5000, 12000} {
		b.Run(fmt.Sprintf("existing=%d", n), func(b *testing.B) {
			s := Store{Dir: b.TempDir()}
			fill(b, s, n)
			alloc := numbered(n)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Update(func(tx *Tx) error { return tx.Put(alloc) }); err != nil {
					b.Fatal(err)
				}
				if err := s.Update(func(tx *Tx) error { return tx.Release(alloc.Attachment, 0) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkView is one read, as CHECK and a repeated ADD do.
func BenchmarkView(b *testing.B) {
	for _, n := range []int{10, 5000, 12000} {
		b.Run(fmt.Sprintf("existing=%d", n), func(b *testing.B) {
			s := Store{Dir: b.TempDir()}
			fill(b, s, n)
			alloc := numbered(n / 2)
			for b.Loop() {
				err := s.View(func(tx *Tx) error {
					_, found, err := tx.Get(alloc.Attachment)
					if err == nil && !found {
						err = fmt.Errorf("get %s: not found", alloc.Attachment)
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	s := Store{Dir: b.TempDir()}
	fill(b, s, 12000)
	for b.Loop() {
		if err := s.Verify(); err != nil {
			b.Fatal(err)
		}
	}
}

// fill puts n allocations into the store, in batches, as a node's life would.
func fill(tb testing.TB, s Store, n int) {
	tb.Helper()
	for from := 0; from < n; from += 100 {
		err := s.Update(func(tx *Tx) error {
			for i := from; i < min(n, from+100); i++ {
				if err := tx.Put(numbered(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// numbered is the i-th allocation of a test: two addresses, names as long as Kubernetes makes them.
func numbered(i int) Allocation {
	v6 := netip.MustParseAddr("fd00:10::").As16()
	v4 := [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
	v6[13], v6[14], v6[15] = byte(i>>16), byte(i>>8), byte(i)
	// Container IDs have no order, so neither do the keys.
	id := fmt.Sprintf("%08x%056x", uint32(i)*2654435761, i)
	return Allocation{
		Attachment: cni.Attachment{Network: "flock", ContainerID: id, IfName: "eth0"},
		State:      Pending,
		Pod:        cni.Pod{Namespace: "default", Name: fmt.Sprintf("web-7d4b9c6f5-%05d", i), UID: fmt.Sprintf("3f2a7c1e-0000-4000-8000-%012d", i)},
		Netns:      fmt.Sprintf("/var/run/netns/cni-3f2a7c1e-0000-4000-8000-%012d", i),
		Addresses:  []netip.Addr{netip.AddrFrom16(v6), netip.AddrFrom4(v4)},
		Allocated:  time.Date(2026, 1, 2, 3, 4, 5, i, time.UTC),
	}
}
