// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// tb lets this program use what is made for tests: what would end a test ends [tb.run] with an error.
type tb struct {
	testing.TB
	ctx      context.Context
	dir      string
	err      error
	cleanups []func()
}

// fatal is what tb panics with.
type fatal struct{ error }

// run calls fn and then what it left to clean up, and returns the first thing that went wrong.
func (t *tb) run(fn func() error) (err error) {
	defer func() {
		for _, cleanup := range slices.Backward(t.cleanups) {
			cleanup()
		}
		if err == nil {
			err = t.err
		}
	}()
	defer func() {
		if f, is := recover().(fatal); is {
			err = f.error
		}
	}()
	return fn()
}

func (t *tb) Helper()                  {}
func (t *tb) Context() context.Context { return t.ctx }
func (t *tb) Cleanup(fn func())        { t.cleanups = append(t.cleanups, fn) }
func (t *tb) Failed() bool             { return t.err != nil }

func (t *tb) Error(args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf("%s", fmt.Sprint(args...))
	}
}

func (t *tb) Errorf(format string, args ...any) { t.Error(fmt.Sprintf(format, args...)) }

func (t *tb) Fatal(args ...any) {
	t.Error(args...)
	panic(fatal{t.err})
}

func (t *tb) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }

func (t *tb) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// TempDir returns a new folder, which goes with the run.
func (t *tb) TempDir() string {
	dir, err := os.MkdirTemp(t.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
