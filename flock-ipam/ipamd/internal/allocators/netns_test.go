// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"flock.fritzlab.net/flock/internal/store"
)

// inNetns puts an attachment into the store that has 10.0.0.1, with a claim of flock-route if it is not delegated, and
// returns the path of its namespace.
func (y *yard) inNetns(id string, delegated bool) (path string) {
	y.t.Helper()
	path = filepath.Join(y.t.TempDir(), "netns")
	if err := os.Symlink("/proc/self/ns/net", path); err != nil {
		y.t.Fatal(err)
	}
	y.gives("10.0.0.1", id, "a")
	err := y.Store.Update(func(tx *store.Tx) error {
		if !delegated {
			if err := tx.SetNote("flock-route", one(id), struct{}{}); err != nil {
				return err
			}
		}
		return tx.Put(store.Allocation{
			Attachment: one(id), State: store.Committed, Netns: path, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		})
	})
	if err != nil {
		y.t.Fatal(err)
	}
	y.StoreChanged()
	y.rounds("a", id)
	return path
}

// TestDelegated: the link of a delegated attachment goes after its DEL, and what it had waits for that.
func TestDelegated(t *testing.T) {
	y := newYard(t, "a")
	y.CoolDown = func() time.Duration { return onItsWay }
	y.start()
	netns := y.inNetns("x", true)
	y.del("x")
	y.rounds("a", "x")
	y.again()
	y.rounds("a", "x")
	if err := os.Remove(netns); err != nil {
		t.Fatal(err)
	}
	y.has("a", "")
}

// TestDelegatedStays: a namespace that is not removed, such as that of a pod which is moved to another network, is not
// waited for longer than the address would rest.
func TestDelegatedStays(t *testing.T) {
	y := newYard(t, "a")
	y.CoolDown = func() time.Duration { return onItsWay }
	y.start()
	y.inNetns("x", true)
	y.del("x")
	y.rounds("a", "x")
	y.clock.Add(int64(onItsWay))
	y.has("a", "")
}

// TestNotDelegated: where flock-route had a route, that tells.
func TestNotDelegated(t *testing.T) {
	y := newYard(t, "a")
	y.CoolDown = func() time.Duration { return onItsWay }
	y.start()
	y.inNetns("x", false)
	err := y.Store.Update(func(tx *store.Tx) error { return tx.DeleteNote("flock-route", one("x")) })
	if err != nil {
		t.Fatal(err)
	}
	y.StoreChanged()
	y.rounds("a", "x")
	y.del("x")
	y.has("a", "")
}

// TestDelegatedStoreLost: a store that was lost tells nothing of a delegated attachment, and the kernel neither. It has
// its address while its namespace is there, whichever ipamd looks, and however long.
func TestDelegatedStoreLost(t *testing.T) {
	y := newYard(t, "a")
	y.CoolDown = func() time.Duration { return onItsWay }
	y.start()
	netns := y.inNetns("x", true)
	y.stop()
	if err := os.Remove(filepath.Join(y.Store.Dir, "store.db")); err != nil {
		t.Fatal(err)
	}
	y.again()
	y.put("y", "10.1.1.1")
	y.rounds("a", "x")
	y.clock.Add(int64(onItsWay))
	y.rounds("a", "x")
	y.again()
	y.rounds("a", "x")
	y.clock.Add(int64(onItsWay))
	y.rounds("a", "x")
	if err := os.Remove(netns); err != nil {
		t.Fatal(err)
	}
	y.has("a", "")
}

// TestDelegatedStoreLostUnseen: the same where the folder of the namespaces is not to be seen from here.
func TestDelegatedStoreLostUnseen(t *testing.T) {
	y := newYard(t, "a")
	y.CoolDown = func() time.Duration { return onItsWay }
	y.start()
	netns := y.inNetns("x", true)
	y.stop()
	err := errors.Join(os.Remove(filepath.Join(y.Store.Dir, "store.db")), os.RemoveAll(filepath.Dir(netns)))
	if err != nil {
		t.Fatal(err)
	}
	y.again()
	y.put("y", "10.1.1.1")
	y.rounds("a", "x")
	y.clock.Add(int64(onItsWay))
	y.rounds("a", "x")
	if err := os.Mkdir(filepath.Dir(netns), 0o700); err != nil {
		t.Fatal(err)
	}
	y.has("a", "")
}

// TestSeenPending: a delegated attachment never is pending. Its claim may be gone already when it is looked at again.
func TestSeenPending(t *testing.T) {
	y := newYard(t, "a")
	y.CoolDown = func() time.Duration { return onItsWay }
	y.start()
	y.gives("10.0.0.1", "x", "a")
	for _, state := range []store.State{store.Pending, store.Committed} {
		alloc := store.Allocation{Attachment: one("x"), State: state, Netns: "/proc/self/ns/net", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
		if err := y.Store.Update(func(tx *store.Tx) error { return tx.Put(alloc) }); err != nil {
			t.Fatal(err)
		}
		y.StoreChanged()
		y.rounds("a", "x")
	}
	y.del("x")
	y.has("a", "")
}
