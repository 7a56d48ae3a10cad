// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// listless fails to list.
type listless struct {
	*memory
	asked atomic.Int32
}

func (l *listless) Client() (any, error) { return l, nil }

func (l *listless) List(context.Context, string) ([]allocator.Allocation, error) {
	l.asked.Add(1)
	return nil, errors.New("the list is lost")
}

// TestListFails: an allocator that cannot list is asked once every interval, and has the rest taken back with it.
func TestListFails(t *testing.T) {
	y := newYard(t, "a")
	l := &listless{memory: y.ext["a"]}
	y.Launch = func(string, func()) Extension { return l }
	y.Interval = time.Hour
	y.start()
	for range 3 {
		y.gives("10.0.0.1", "x", "a")
		y.put("x", "10.0.0.1")
		y.del("x")
		y.has("a", "")
	}
	y.eventually("it is told that the list is lost", func() error {
		y.mu.Lock()
		defer y.mu.Unlock()
		if wrong := y.wrong["allocator a"]; !strings.Contains(wrong, "the list is lost") {
			return errors.New(wrong)
		}
		return nil
	})
	if n := l.asked.Load(); n != 1 {
		t.Errorf("asked to list %d times", n)
	}
}
