// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/reload"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/retired"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakerconf"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakers"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/health"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// The rhythm of the speaker: new configurations are at least speakerRest apart, a speaker that was started again is
// found within speakerInterval, and what no event tells of, a changed password, within renderInterval.
const (
	speakerRest     = 500 * time.Millisecond
	speakerInterval = 2 * time.Second
	renderInterval  = 30 * time.Second
	speakerPatience = 10 * time.Second
)

// sessions is the task that keeps the node's speaker at what the NodeConfig says.
type sessions struct {
	log       *slog.Logger
	health    *health.Health
	config    atomic.Pointer[v1alpha1.Config] // to be spoken; nil before the first
	taken     atomic.Pointer[v1alpha1.Config] // the last that the speaker has come to go by
	own       func() ([]netip.Addr, error)
	passwords Passwords
	table     uint32
	pools     *retired.Pools
	retired   atomic.Pointer[[]netip.Prefix] // pools whose addresses are still announced
	// bird is BIRD, managed whether birdd may configure it, and all the speakers are all that there are.
	bird    *bird.Speaker
	managed bool
	all     *speakers.Set
	first   func()               // is called when the speaker goes by a NodeConfig for the first time
	done    func(reload.Outcome) // is told what became of each attempt
	trigger task.Trigger

	// named is the speaker that the NodeConfig names, and name the one that the sessions are or, where it does not run, are
	// to be with.
	named, name atomic.Pointer[string]
	outdated    atomic.Bool
	made        time.Time
	told        speaker.Config
	toldOf      *v1alpha1.Config
	// judged is what an extension has accepted or refused last.
	judged speaker.Config
	// holder is the speaker that has the sessions, as noted, until another has gone by a NodeConfig and what the holder
	// left is cleared away. It goes by kept; nil where that is not known.
	holder string
	kept   *speaker.Config
	// next is to have the sessions, where another than the holder is named; refused is why one does not get them.
	next     candidate
	refused  *refusal
	clear    func(name string) error
	silenced []string // that were to be silent last
}

func (s *sessions) Name() string { return "sessions" }

// changed has the configuration made again: the NodeConfig, a password or an address has changed.
func (s *sessions) changed() {
	s.outdated.Store(true)
	s.trigger.Fire()
}

// take has the speaker go by the NodeConfig from now on.
func (s *sessions) take(config *v1alpha1.Config) {
	if s.config.Swap(config) != config {
		s.changed()
	}
}

// retire has the addresses of pools that the node has no more pass as long as somebody has them.
func (s *sessions) retire(config *v1alpha1.Config) error {
	var now []netip.Prefix
	for _, p := range config.Pools {
		now = append(now, p.Prefix)
	}
	old, err := s.pools.Update(now)
	if err != nil {
		return err
	}
	if before := s.retired.Swap(&old); before == nil || !slices.Equal(*before, old) {
		s.changed()
	}
	return nil
}

// goBy tells whether the sessions go by the NodeConfig, and by none before it.
func (s *sessions) goBy(config *v1alpha1.Config) bool { return s.taken.Load() == config }

// foreign tells whether the sessions are to be a speaker's that is none of birdd's.
func (s *sessions) foreign() bool { return !s.managed && *s.named.Load() == v1alpha1.SpeakerBIRD }

func (s *sessions) Run(ctx context.Context) error {
	defer s.all.Close()
	s.outdated.Store(true)
	alive := s.health.Loop(s.Name(), loopLimit)
	return task.Loop(ctx, s.trigger, speakerRest, speakerInterval, func(ctx context.Context) {
		alive()
		s.keep(ctx)
	})
}

func (s *sessions) keep(ctx context.Context) {
	outdated := s.outdated.Swap(false) // before the look at the NodeConfig, which may change meanwhile
	config := s.config.Load()
	if config == nil {
		return
	}
	s.choose(config)
	if outdated || time.Since(s.made) >= renderInterval {
		if err := s.make(ctx, config); err != nil {
			s.outdated.Store(true)
			s.health.Set(s.area(), err)
			return
		}
	}
	err := s.speak(ctx)
	if err == nil && s.taken.Swap(s.toldOf) != s.toldOf {
		defer s.first()
	}
	if errors.Is(err, bird.ErrOnTrial) {
		s.trigger.Fire()
		return
	}
	s.health.Set(s.area(), err)
}

// area is that of the speaker that the NodeConfig names among those of birdd's work.
func (s *sessions) area() string { return speakers.Title(*s.named.Load()) }

// configure tells the node's speaker what it is to go by.
func (s *sessions) configure(ctx context.Context) error {
	name := *s.name.Load()
	if name == v1alpha1.SpeakerBIRD {
		if s.foreign() {
			return nil
		}
		return s.tell(ctx, name, s.told)
	}
	err := s.tell(ctx, name, s.told)
	if s.toldOf.BGP == nil && errors.Is(err, extension.ErrDown) {
		return nil // it is not needed
	}
	refused, known := (*speaker.RefusedError)(nil), reflect.DeepEqual(s.told, s.judged)
	switch {
	case err == nil && !known:
		s.done(reload.Loaded)
	case errors.As(err, &refused) && !known:
		s.done(reload.Refused)
	case err != nil && refused == nil:
		s.done(reload.Failed)
		return err
	}
	s.judged = s.told
	return err
}

func (s *sessions) tell(ctx context.Context, name string, c speaker.Config) error {
	one, err := s.all.Get(name)
	if err != nil {
		return err
	}
	return within(ctx, func(ctx context.Context) error { return one.Configure(ctx, c) })
}

func within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, speakerPatience)
	defer cancel()
	return do(ctx)
}

// make makes what the speaker is told.
func (s *sessions) make(ctx context.Context, config *v1alpha1.Config) error {
	own, err := s.own()
	if err != nil {
		return err
	}
	in := speakerconf.Input{Config: config, Table: s.table, Own: own}
	if old := s.retired.Load(); old != nil {
		in.Retired = *old
	}
	if !s.foreign() {
		if in.Passwords, err = s.readPasswords(ctx, config); err != nil {
			return err
		}
	}
	s.told, s.toldOf, s.made = speakerconf.Make(in), config, time.Now()
	return nil
}

// readPasswords returns the passwords that can be read. A peer is not configured without its own. While
// nobody can say what one is, nothing is: the session that may run with it is not to end for that.
func (s *sessions) readPasswords(ctx context.Context, config *v1alpha1.Config) (map[string]speaker.Password, error) {
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
