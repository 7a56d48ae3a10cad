// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"log/slog"
	"time"
)

// Options say what a supervisor runs, and how.
type Options struct {
	Kind Kind
	// Name is the extension's, without the kind.
	Name string
	Dir  Dir
	// Folder is the daemon's state folder. The extension's socket is in a folder of its own below it, and the record of
	// one that outlives.
	Folder string
	// Env is what the extension's environment has, as KEY=value, besides PATH and TZ; of the daemon's own it has nothing.
	Env []string
	// Outlive is set for an extension that goes on when its supervisor is killed. It writes to the daemon's standard
	// error itself; that of any other is logged.
	Outlive bool
	// Stop is called with the extension's client before it is ended, unless nil.
	Stop func(ctx context.Context, client any) error
	// Grace is how long Stop and the extension's end may take together before it is killed; 1 second if 0.
	Grace time.Duration
	// Changed is called after the state changed, unless nil. It must not wait.
	Changed func()
	// Metrics has the extension's calls and state, unless nil.
	Metrics *Metrics
	Log     *slog.Logger
}

// Supervisor keeps one extension running.
type Supervisor struct{ Options }

// NewSupervisor returns a supervisor that does nothing until it is run.
func NewSupervisor(o Options) *Supervisor { return &Supervisor{o} }

// Name returns the task's name, "speaker gobgp" for example.
func (s *Supervisor) Name() string { return s.Kind.Name + " " + s.Options.Name }

// Run keeps the extension running until the context ends, and returns when it has ended too, with all that it left
// behind removed. It returns nil: that an extension cannot be run is in the State, and it is tried again.
func (s *Supervisor) Run(ctx context.Context) error { panic("not yet") }

// Client returns what the contract's plugin dispensed, for one call or a few: after a restart it is another. While the
// extension is down it is an error that matches [ErrDown] and says why.
func (s *Supervisor) Client() (any, error) { panic("not yet") }

// State returns how the extension is.
func (s *Supervisor) State() State { panic("not yet") }
