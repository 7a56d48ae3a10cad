// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStillRouted: a store that has lost an attachment does not have its address given away.
func TestStillRouted(t *testing.T) {
	y := newYard(t, "a")
	y.routed.Store(true)
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.put("x", "10.0.0.1")
	y.rounds("a", "x")
	y.del("x")
	y.rounds("a", "x")
	y.routed.Store(false)
	y.has("a", "")
}

// TestStoreLost: an ipamd that finds no store waits until there is one, and knows then whom the kernel routes to.
func TestStoreLost(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.put("x", "10.0.0.1")
	y.rounds("a", "x")
	y.stop()
	if err := os.Remove(filepath.Join(y.Store.Dir, "store.db")); err != nil {
		t.Fatal(err)
	}
	y.again()
	y.eventually("it tells of the store", func() error {
		y.mu.Lock()
		defer y.mu.Unlock()
		if !strings.Contains(y.wrong["allocator a"], "the store is missing") {
			return errors.New(y.wrong["allocator a"])
		}
		return nil
	})
	y.routed.Store(true)
	y.put("y", "10.1.1.1")
	y.rounds("a", "x")
	y.routed.Store(false)
	y.has("a", "")
}

// TestRoutedAndOnlyListed: what no store has told of, the allocator has.
func TestRoutedAndOnlyListed(t *testing.T) {
	y := newYard(t, "a")
	y.routed.Store(true)
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.again()
	y.rounds("a", "x")
	y.clock.Add(int64(onItsWay))
	y.rounds("a", "x")
	y.routed.Store(false)
	y.has("a", "")
}

// TestRoutedAndTold: the same for what was told to an ADD whose store was lost at once.
func TestRoutedAndTold(t *testing.T) {
	y := newYard(t, "a")
	y.routed.Store(true)
	y.start()
	y.gives("10.0.0.1", "x", "a")
	if err := y.Abandon(t.Context(), one("x")); err != nil {
		t.Error(err)
	}
	y.rounds("a", "x")
	y.routed.Store(false)
	y.has("a", "")
}

// TestRoutedAndPoolGone: the pool that the address is of is none of node.json any more.
func TestRoutedAndPoolGone(t *testing.T) {
	y := newYard(t, "a")
	y.routed.Store(true)
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.put("x", "10.0.0.1")
	y.mu.Lock()
	y.specs = nil
	y.mu.Unlock()
	y.PoolsChanged()
	y.rounds("a", "x")
	y.del("x")
	y.rounds("a", "x")
	y.routed.Store(false)
	y.has("a", "")
}

// TestRoutedToAnother: the route to an address that another attachment has is that one's.
func TestRoutedToAnother(t *testing.T) {
	y := newYard(t, "a")
	y.routed.Store(true)
	y.start()
	y.put("y", "10.0.0.1")
	y.gives("10.0.0.1", "x", "a")
	y.clock.Add(int64(time.Second))
	if err := y.Abandon(t.Context(), one("x")); err != nil {
		t.Error(err)
	}
	y.has("a", "")
}
