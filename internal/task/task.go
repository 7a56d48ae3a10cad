// SPDX-License-Identifier: Apache-2.0

// Package task runs what a daemon consists of.
package task

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Task is one thing that a daemon does all its life. Run returns nil when the context has ended, and an
// error when the task cannot go on.
type Task interface {
	Name() string
	Run(context.Context) error
}

// patience is how long a task may take to end.
const patience = 1500 * time.Millisecond

// Run runs the tasks until the context ends or one of them fails, and returns when all have, or 1.5 seconds later:
// the process is to end then, whatever holds a task up. The error names the tasks that failed or did not end.
func Run(ctx context.Context, tasks ...Task) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // of errs
	errs := make([]error, len(tasks))
	var running sync.WaitGroup
	for i, t := range tasks {
		errs[i] = fmt.Errorf("task %s: has not ended", t.Name())
		running.Go(func() {
			defer cancel()
			err := t.Run(ctx)
			if err != nil {
				err = fmt.Errorf("task %s: %w", t.Name(), err)
			}
			mu.Lock()
			defer mu.Unlock()
			errs[i] = err
		})
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	<-ctx.Done()
	select {
	case <-ended:
	case <-time.After(patience):
	}
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(errs...)
}

// Func returns a task of a name and a function.
func Func(name string, run func(context.Context) error) Task { return named{name, run} }

type named struct {
	name string
	run  func(context.Context) error
}

func (n named) Name() string                  { return n.name }
func (n named) Run(ctx context.Context) error { return n.run(ctx) }

// Trigger says that there is something to do. However often it fires before somebody looks, it is one.
type Trigger chan struct{}

// NewTrigger returns a trigger that has not fired.
func NewTrigger() Trigger { return make(Trigger, 1) }

// Fire never waits.
func (t Trigger) Fire() {
	select {
	case t <- struct{}{}:
	default:
	}
}

// Loop calls do at once, and then after each firing and at least once every interval, until the context
// ends. After a call it rests, so that a burst of firings costs one call at its beginning and one at
// its end.
func Loop(ctx context.Context, t Trigger, rest, interval time.Duration, do func(context.Context)) error {
	for {
		do(ctx)
		if !Sleep(ctx, rest) {
			return nil
		}
		timer := time.NewTimer(interval - rest)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-t:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Sleep waits, and returns false when the context ends first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
