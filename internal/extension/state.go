// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"cmp"
	"fmt"
	"time"
)

// Client returns what the contract's plugin dispensed, for one call or a few: after a restart it is another. While the
// extension is down it is an error that matches [ErrDown] and says why.
func (s *Supervisor) Client() (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		return s.now.client, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrDown, cmp.Or(s.state.LastError, "it has not been started yet"))
}

// State returns how the extension is.
func (s *Supervisor) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// use has Client return the instance's.
func (s *Supervisor) use(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = i
}

// up notes that the extension is there.
func (s *Supervisor) up(i *instance) {
	s.use(i)
	s.set(i, func(state *State) {
		state.Up, state.Since, state.Version, state.PID = true, i.since, i.version, i.pid
	})
	s.log.Info("extension is up", "pid", i.pid, "version", i.version)
}

// down notes why the extension is not there.
func (s *Supervisor) down(err error) {
	before := s.State()
	s.set(nil, func(state *State) {
		if state.Up || state.Since.IsZero() {
			state.Since = time.Now().UTC().Truncate(time.Second)
		}
		state.Up, state.LastError, state.Version, state.PID = false, err.Error(), 0, 0
	})
	if err.Error() != before.LastError || before.Up {
		s.log.Warn("extension is down", "error", err)
	}
}

// set changes the state, and keeps the record that goes with it.
func (s *Supervisor) set(i *instance, change func(*State)) {
	s.mu.Lock()
	change(&s.state)
	state := s.state
	s.mu.Unlock()
	if err := s.keep(state, i); err != nil {
		s.log.Error("extension cannot be reached by others", "error", err)
	}
	if s.o.Changed != nil {
		s.o.Changed()
	}
}

// keep writes the record of an extension that outlives its supervisor.
func (s *Supervisor) keep(state State, i *instance) error {
	if s.record == "" {
		return nil
	}
	rec := record{State: state}
	if i != nil {
		var err error
		if rec, err = newRecord(state, s.o.Folder, i); err != nil {
			return err
		}
	}
	return rec.write(s.record, s.folder)
}
