// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/plugins/allocator"
)

// TestNeverStored: what was given to an ADD that never came to the store is taken back after two minutes.
func TestNeverStored(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.rounds("a", "x")
	y.clock.Add(int64(onItsWay - time.Second))
	y.rounds("a", "x")
	y.clock.Add(int64(time.Second))
	y.has("a", "")
}

// TestNeverStoredAndRestarted: the same, for an ipamd that was started after it was given.
func TestNeverStoredAndRestarted(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.gives("10.0.0.2", "y", "a")
	y.again()
	y.clock.Add(int64(time.Hour))
	y.again()
	y.rounds("a", "x y")
	y.put("y", "10.0.0.2")
	y.clock.Add(int64(onItsWay))
	y.has("a", "y")
	y.rounds("a", "y")
}

// TestFreedMeanwhile: what was freed while there was no ipamd is taken back at once.
func TestFreedMeanwhile(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.put("x", "10.0.0.1")
	y.rounds("a", "x")
	y.stop()
	y.del("x")
	y.again()
	y.has("a", "")
}

// TestDownAndUp: who asks waits for an allocator that is not up, and what was freed meanwhile waits too.
func TestDownAndUp(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.put("x", "10.0.0.1")
	y.rounds("a", "x")
	down := fmt.Errorf("%w: it ended", extension.ErrDown)
	y.ext["a"].says(func() { y.ext["a"].down = down })
	y.del("x")
	if _, err := y.ask("y", "a", 50*time.Millisecond); !errors.Is(err, down) || err.Error() != down.Error() {
		t.Errorf("while it is down: %v", err)
	}
	if err := y.Up("a"); !errors.Is(err, down) || y.Down()["a"] == nil {
		t.Errorf("Up() = %v, Down() = %v", err, y.Down())
	}
	answered := make(chan error)
	go func() {
		_, err := y.ask("z", "a", 10*time.Second)
		answered <- err
	}()
	y.ext["a"].says(func() { y.ext["a"].down = nil })
	y.tell()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	y.has("a", "z")
	if err := y.Up("a"); err != nil || len(y.Down()) > 0 {
		t.Errorf("Up() = %v, Down() = %v", err, y.Down())
	}
}

// TestOneHangs: the others do not wait for it.
func TestOneHangs(t *testing.T) {
	y := newYard(t, "a", "b")
	y.start()
	y.ext["a"].says(func() { y.ext["a"].hang = true })
	asked := make(chan error)
	go func() {
		_, err := y.ask("x", "a", 300*time.Millisecond)
		asked <- err
	}()
	y.gives("10.0.1.1", "y", "b")
	y.put("y", "10.0.1.1")
	y.rounds("b", "y")
	y.del("y")
	y.has("b", "")
	if err := <-asked; err == nil || !strings.Contains(err.Error(), "has not answered in time") {
		t.Errorf("got %v", err)
	}
}

// TestLostInTheMidst: an allocator that is lost while it answers is asked again.
func TestLostInTheMidst(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	y.ext["a"].says(func() { y.ext["a"].lost = 100 })
	if _, err := y.ask("x", "a", time.Second); err == nil || !strings.Contains(err.Error(), "the connection is gone") {
		t.Errorf("got %v", err)
	}
	y.ext["a"].says(func() { y.ext["a"].lost = 2 })
	y.gives("10.0.0.1", "x", "a")
}

func TestMeanings(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	for sent, want := range map[error]error{
		fmt.Errorf("full: %w", allocator.ErrExhausted): lookup.ErrExhausted,
		fmt.Errorf("no: %w", allocator.ErrRefused):     lookup.ErrRefused,
	} {
		y.ext["a"].says(func() { y.ext["a"].fail = sent })
		if _, err := y.ask("x", "a", time.Second); !errors.Is(err, want) || err.Error() != sent.Error() {
			t.Errorf("%v arrives as %v", sent, err)
		}
	}
}

// TestChangedPools: a question for what node.json does not have any more is not passed on.
func TestChangedPools(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	for _, w := range []lookup.Want{
		{Pool: "gone", Within: netip.MustParsePrefix("10.0.0.0/24")},
		{Pool: "by-a", Within: netip.MustParsePrefix("10.0.0.0/16")},
		{Pool: "by-a", Within: netip.MustParsePrefix("10.7.0.0/24")},
		{Pool: "by-a", Within: netip.MustParsePrefix("fd00::/64")},
	} {
		w.StateDir = y.Store.Dir
		if addr, err := y.Allocate(t.Context(), w); err == nil || !strings.Contains(err.Error(), "find pool "+w.Pool) {
			t.Errorf("%v: %s, %v", w, addr, err)
		}
	}
}

// TestOthersListed: an allocator that lists what other nodes have has nothing of theirs taken back.
func TestOthersListed(t *testing.T) {
	y := newYard(t, "a")
	elsewhere := allocator.Attachment{Node: "node2", ContainerID: "far", IfName: "eth0"}
	y.ext["a"].given = []allocator.Allocation{{Attachment: elsewhere, Pool: "by-a", Address: netip.MustParseAddr("10.0.0.9")}}
	y.start()
	y.rounds("a", "far")
	y.clock.Add(int64(time.Hour))
	y.rounds("a", "far")
	y.ext["a"].says(func() {
		if asked := y.ext["a"].asked; len(asked) > 0 {
			t.Errorf("it is asked to take back from %v", asked)
		}
	})
}

// TestNotNamedAnyMore: an allocator runs until it has nothing to take back.
func TestNotNamedAnyMore(t *testing.T) {
	y := newYard(t, "a", "b")
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.put("x", "10.0.0.1")
	y.rounds("a", "x")
	y.mu.Lock()
	y.specs = y.specs[1:]
	y.mu.Unlock()
	y.PoolsChanged()
	y.again()
	y.rounds("a", "x")
	if n := y.ext["a"].runs.Load(); n != 1 {
		t.Errorf("it runs %d times", n)
	}
	y.del("x")
	y.has("a", "")
	y.eventually("it has ended", func() error {
		if n := y.ext["a"].runs.Load(); n != 0 {
			return fmt.Errorf("it runs %d times", n)
		}
		return nil
	})
	if n := y.ext["b"].runs.Load(); n != 1 {
		t.Errorf("the other runs %d times", n)
	}
}

func TestDamagedRoster(t *testing.T) {
	y := newYard(t, "a")
	if err := os.WriteFile(y.Roster, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	y.start()
	y.gives("10.0.0.1", "x", "a")
	y.put("x", "10.0.0.1")
	y.eventually("it is written anew", func() error {
		raw, err := os.ReadFile(y.Roster)
		if err == nil && string(raw) != `{"a":[{"network":"","containerID":"x","ifName":"eth0","addresses":["10.0.0.1"]}]}` {
			err = errors.New(string(raw))
		}
		return err
	})
}
