// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestLock counts under the lock of one address of several: a count is lost if two hold it at once, and the
// test hangs if two wait for each other.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	addrs := func(n int) []netip.Addr {
		shared := netip.MustParseAddr("10.0.0.1")
		own := netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", n+2))
		if n%2 == 0 {
			return []netip.Addr{shared, own, netip.MustParseAddr("2001:db8::1")}
		}
		return []netip.Addr{netip.MustParseAddr("2001:db8::1"), own, shared}
	}
	var count atomic.Int32
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 100 {
				unlock, err := Lock(dir, addrs(n))
				if err != nil {
					t.Error(err)
					return
				}
				before := count.Load()
				runtime.Gosched()
				count.Store(before + 1)
				unlock()
			}
		})
	}
	all.Wait()
	if got := count.Load(); got != 800 {
		t.Errorf("counted %d, want 800", got)
	}
}

func TestLockOthers(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Lock(dir, []netip.Addr{netip.MustParseAddr("10.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	other, err := Lock(dir, []netip.Addr{netip.MustParseAddr("10.0.0.2")}) // would wait for ever
	if err != nil {
		t.Fatal(err)
	}
	other()
	if _, err := Lock("/dev/null/dir", nil); err == nil {
		t.Error("Lock in no folder: no error")
	}
}

func TestOffsets(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	one, two := offsets([]netip.Addr{a, b, a}), offsets([]netip.Addr{b, a})
	if !slices.Equal(one, two) || len(one) != 2 || !slices.IsSorted(one) || one[0] < 0 {
		t.Errorf("offsets = %v and %v, want the same two, in order", one, two)
	}
}
