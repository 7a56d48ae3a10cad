// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/birdconf"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/reload"
	"flock.fritzlab.net/flock/internal/health"
	"flock.fritzlab.net/flock/internal/task"
)

// The rhythm of the speaker: reloads are at least reloadRest apart, a BIRD that was started again is
// found within birdInterval, and what no event tells of, a changed password, within renderInterval.
const (
	reloadRest     = 500 * time.Millisecond
	birdInterval   = 2 * time.Second
	renderInterval = 30 * time.Second
	birdPatience   = 10 * time.Second
)

// speaker is the task that keeps BIRD's configuration as the NodeConfig says.
type speaker struct {
	log       *slog.Logger
	health    *health.Health
	config    atomic.Pointer[v1alpha1.Config] // to be spoken; nil before the first
	spoken    atomic.Pointer[v1alpha1.Config] // the last that BIRD was given, whatever became of it
	own       func() ([]netip.Addr, error)
	passwords Passwords
	table     uint32
	loader    *reload.Loader
	first     func()               // is called when a NodeConfig was given to BIRD for the first time
	done      func(reload.Outcome) // is told what became of each attempt
	trigger   task.Trigger
	outdated  atomic.Bool
	rendered  time.Time
	text      reload.Text
	textOf    *v1alpha1.Config
}

func (s *speaker) Name() string { return "bird" }

// changed has the configuration rendered again: the NodeConfig, a password or an address has changed.
func (s *speaker) changed() {
	s.outdated.Store(true)
	s.trigger.Fire()
}

// take has BIRD go by the NodeConfig from now on.
func (s *speaker) take(config *v1alpha1.Config) {
	if s.config.Swap(config) != config {
		s.changed()
	}
}

// tried tells whether BIRD has been given the NodeConfig.
func (s *speaker) tried(config *v1alpha1.Config) bool { return s.spoken.Load() == config }

func (s *speaker) Run(ctx context.Context) error {
	s.outdated.Store(true)
	alive := s.health.Loop(s.Name(), loopLimit)
	return task.Loop(ctx, s.trigger, reloadRest, birdInterval, func(ctx context.Context) {
		alive()
		s.keep(ctx)
	})
}

func (s *speaker) keep(ctx context.Context) {
	outdated := s.outdated.Swap(false) // before the look at the NodeConfig, which may change meanwhile
	config := s.config.Load()
	if config == nil {
		return
	}
	if outdated || time.Since(s.rendered) >= renderInterval {
		if err := s.render(ctx, config); err != nil {
			s.outdated.Store(true)
			s.health.Set(areaBird, err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, birdPatience)
	defer cancel()
	outcome, err := s.loader.Ensure(ctx, s.text)
	if outcome == reload.Failed { // BIRD may be waiting for somebody to put the file back
		err = errors.Join(err, bootstrap(s.loader.File))
	}
	if s.spoken.Swap(s.textOf) != s.textOf {
		defer s.first()
	}
	if outcome == reload.Waiting {
		s.trigger.Fire()
		return
	}
	if outcome == reload.Loaded {
		s.log.Info("BIRD has loaded its configuration", "file", s.loader.File)
	}
	s.health.Set(areaBird, err)
	if outcome != reload.Unchanged {
		s.done(outcome)
	}
}

func (s *speaker) render(ctx context.Context, config *v1alpha1.Config) error {
	own, err := s.own()
	if err != nil {
		return err
	}
	passwords, err := s.readPasswords(ctx, config)
	if err != nil {
		return err
	}
	in := birdconf.Input{Config: config, Table: s.table, Own: own, Passwords: passwords}
	conf, err := birdconf.Render(in)
	if err != nil {
		return err
	}
	in.Own = nil
	meant, err := birdconf.Render(in)
	if err != nil {
		return err
	}
	s.text, s.textOf = reload.Text{Conf: conf, Peers: in.Peers(), Meant: meant}, config
	s.rendered = time.Now()
	return nil
}

// readPasswords returns the passwords that can be read. A peer is not rendered without its own. While
// nobody can say what one is, nothing is rendered: the session that may run with it is not to end for that.
func (s *speaker) readPasswords(ctx context.Context, config *v1alpha1.Config) (map[string]password.Password, error) {
	passwords, errs := s.passwords.ReadAll(ctx, config)
	var pending []error
	for peer, err := range errs {
		if errors.Is(err, password.ErrPending) {
			pending = append(pending, fmt.Errorf("wait for peer %s: %w", peer, err))
		}
	}
	if len(pending) > 0 {
		return nil, errors.Join(pending...)
	}
	setPeers(s.health, errs)
	return passwords, nil
}
