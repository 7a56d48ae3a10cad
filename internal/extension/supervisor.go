// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"flock.fritzlab.net/flock/internal/task"
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

// timing is how a supervisor spends its time.
type timing struct {
	// start is how long an extension may take until it answers first, answer how long when it is asked later, every so often.
	start, answer, every time.Duration
	// shortest and longest are the pauses before an extension is started again: the second is twice the first, and so on,
	// until it was well for long enough.
	shortest, longest, well time.Duration
}

// usual takes an extension for dead 20 seconds after it began to hang: a machine that is short of processor time, or of
// memory, must not cost sessions that would have survived it.
var usual = timing{start: 15 * time.Second, answer: 15 * time.Second, every: 5 * time.Second,
	shortest: time.Second, longest: time.Minute, well: time.Minute}

// Supervisor keeps one extension running.
type Supervisor struct {
	timing
	o      Options
	id     string // kind-name
	folder string // the extension's own
	record string // empty for one that does not outlive
	log    *slog.Logger

	mu    sync.Mutex
	state State
	now   *instance // nil while it is down
	began bool      // it was started before
}

// NewSupervisor returns a supervisor that does nothing until it is run.
func NewSupervisor(o Options) *Supervisor {
	if o.Grace == 0 {
		o.Grace = time.Second
	}
	id := o.Kind.Name + "-" + o.Name
	s := &Supervisor{timing: usual, o: o, id: id, folder: filepath.Join(o.Folder, id+".d"), log: o.Log.With("extension", id)}
	return s
}

// Name returns the task's name, "speaker gobgp" for example.
func (s *Supervisor) Name() string { return s.o.Kind.Name + " " + s.o.Name }

// Run keeps the extension running until the context ends, and returns when it has ended too, with all that it left
// behind removed. It returns nil: that an extension cannot be run is in the State, and it is tried again.
func (s *Supervisor) Run(ctx context.Context) error {
	s.o.Metrics.add(s.id, s.State)
	defer s.o.Metrics.remove(s.id)
	var release func()
	s.retry(ctx, func() (err error) {
		release, err = claim(s.folder)
		return err
	})
	if release == nil {
		return nil
	}
	defer release()
	s.recall()
	s.retry(ctx, func() error { return s.live(ctx) })
	if err := s.leave(); err != nil {
		s.log.Error("extension leaves something behind", "error", err)
	}
	return nil
}

// retry calls do until it returns nil or the context ends, after pauses.
func (s *Supervisor) retry(ctx context.Context, do func() error) {
	for pause := s.shortest; ; pause = min(2*pause, s.longest) {
		began := time.Now()
		err := do()
		if err == nil || ctx.Err() != nil {
			return
		}
		s.down(err)
		if time.Since(began) >= s.well {
			pause = s.shortest
		}
		if !task.Sleep(ctx, pause) {
			return
		}
	}
}

// recall takes up the record that an earlier supervisor left, where there may be one.
func (s *Supervisor) recall() {
	if !s.o.Outlive {
		return
	}
	s.record = RecordPath(s.o.Folder, s.o.Kind.Name, s.o.Name)
	if rec, err := readRecord(s.record); err == nil {
		s.state.Restarts, s.state.LastError, s.began = rec.State.Restarts, rec.State.LastError, true
	}
}

// leave removes what is left of the extension.
func (s *Supervisor) leave() error {
	err := tidy(s.folder)
	if s.record != "" {
		if gone := os.Remove(s.record); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return errors.Join(err, os.Remove(s.folder))
}
