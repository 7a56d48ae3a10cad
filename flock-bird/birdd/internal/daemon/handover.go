// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakerconf"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakers"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/plugins/speaker"
)

const (
	// othersPatience is how long a speaker that is none of the node's may keep the node's own waiting.
	othersPatience = time.Second
	// nextPatience is how long the speaker that is to have the sessions may fail while nobody has them.
	nextPatience = 10 * time.Second
)

// candidate is the speaker that is to have the sessions and has shown itself, and since when it fails to take them.
type candidate struct {
	name    string
	failing time.Time
}

// refusal is why the speaker that was to have the sessions by a NodeConfig does not get them.
type refusal struct {
	of  *v1alpha1.Config
	by  string
	err error
}

// choose takes up which speaker the NodeConfig names. One without BGP leaves it to the one before to end sessions.
func (s *sessions) choose(config *v1alpha1.Config) {
	name := s.holder
	if config.BGP != nil {
		name = config.BGP.Speaker
	}
	if name == *s.named.Load() {
		return
	}
	s.health.Set(s.area(), nil)
	s.named.Store(&name)
	s.health.Need(needs(s)...)
	s.log.Info("the NodeConfig names another speaker", "speaker", name)
}

// speak has the speaker that the NodeConfig names go by it, and the others speak to nobody.
func (s *sessions) speak(ctx context.Context) error {
	named := *s.named.Load()
	defer func() { s.all.Keep(append(s.all.Others(named), named, s.holder)...) }()
	if named != s.holder {
		return s.handOver(ctx, named)
	}
	s.next = candidate{}
	if *s.name.Swap(&named) != named { // the one that was to follow may have begun
		s.silenceOthers(ctx)
	}
	err := s.configure(ctx)
	if err == nil {
		s.keepTo(s.told)
	} else if isRefusal(err) && s.kept != nil && named != v1alpha1.SpeakerBIRD {
		err = errors.Join(err, s.tell(ctx, named, *s.kept)) // it may have been started again, and has nothing to go by
	}
	ctx, cancel := context.WithTimeout(ctx, othersPatience)
	defer cancel()
	s.silenceOthers(ctx)
	return err
}

// handOver brings the sessions from their holder to another speaker. They stay where they are while that one is not
// there, and come back if it refuses the NodeConfig or keeps failing.
func (s *sessions) handOver(ctx context.Context, to string) error {
	if r := s.refused; r != nil && r.of == s.toldOf && r.by == to {
		return s.stay(ctx, r)
	}
	if s.next.name != to {
		if err := s.meet(ctx, to); err != nil {
			if s.there(ctx, s.holder) {
				s.remain(ctx)
			} else {
				s.name.Store(&to) // there is nothing to tell of the holder
			}
			return err
		}
		s.next = candidate{name: to}
	}
	s.name.Store(&to)
	ran, silent := s.silenceOthers(ctx)
	if ran && s.kept == nil { // what it went by an earlier birdd knew
		s.keepTo(s.told)
	}
	began := time.Now()
	err := s.configure(ctx)
	if s.next.fails(began, err) && ran {
		err = fmt.Errorf("%w: %s has the sessions until the NodeConfig changes", err, speakers.Title(s.holder))
		s.refused = &refusal{s.toldOf, to, err}
		return s.stay(ctx, s.refused)
	}
	if err != nil || !silent {
		return err
	}
	return s.handedOver(to)
}

// handedOver notes that a speaker has the sessions, and the holder before it none.
func (s *sessions) handedOver(to string) error {
	if err := s.all.Note(to); err != nil {
		return err
	}
	s.log.Info("another speaker has the node's sessions", "speaker", to, "before", s.holder)
	s.holder, s.next, s.refused = to, candidate{}, nil
	s.keepTo(s.told)
	return nil
}

// fails tells whether the speaker is not going to take the sessions, by what came of an attempt that began then.
func (c *candidate) fails(began time.Time, err error) bool {
	switch {
	case err == nil || errors.Is(err, bird.ErrOnTrial):
		c.failing = time.Time{}
		return false
	case c.failing.IsZero():
		c.failing = began
	}
	return isRefusal(err) || time.Since(c.failing) >= nextPatience
}

func isRefusal(err error) bool {
	refused := (*speaker.RefusedError)(nil)
	return errors.As(err, &refused)
}

// stay leaves the sessions with their holder, and none with the speaker that did not take them: it may have taken a part,
// or all of them too late. The error says why it does not have them.
func (s *sessions) stay(ctx context.Context, r *refusal) error {
	_, err := s.silence(ctx, r.by, speakerconf.WithoutPeers(s.told))
	if errors.Is(err, bird.ErrOnTrial) {
		err = nil
	}
	s.remain(ctx)
	return errors.Join(r.err, err)
}

// keepTo notes what the holder of the sessions goes by.
func (s *sessions) keepTo(c speaker.Config) { s.kept = &c }

// meet returns an error unless the speaker is there and can work, which it shows without speaking to anybody.
func (s *sessions) meet(ctx context.Context, name string) error {
	if name == v1alpha1.SpeakerBIRD && !s.managed {
		return nil
	}
	if all, err := s.ask(ctx, name); err == nil && slices.ContainsFunc(all, established) {
		return nil // an earlier birdd has met it
	}
	there, err := s.silence(ctx, name, speakerconf.WithoutPeers(s.told))
	if err != nil || there {
		return err
	}
	_, err = s.ask(ctx, name)
	return err
}

// ask returns the sessions that a speaker has.
func (s *sessions) ask(ctx context.Context, name string) ([]speaker.Session, error) {
	one, err := s.all.Get(name)
	if err != nil {
		return nil, err
	}
	var is speaker.Status
	err = within(ctx, func(ctx context.Context) (err error) { is, err = one.Status(ctx, nil); return err })
	return is.Sessions, err
}

func established(s speaker.Session) bool { return s.State == speaker.Established }

// there tells whether a speaker of flock's runs, and so may have sessions.
func (s *sessions) there(ctx context.Context, name string) bool {
	if name != v1alpha1.SpeakerBIRD {
		return s.all.Up(name)
	}
	if !s.managed {
		return false
	}
	return within(ctx, s.bird.Reach) == nil
}

// remain leaves the sessions with their holder, and has it go by what it did: it may have been started again since. What
// that was an earlier birdd may have known, and not this one; then the holder goes on, unless it has nothing to go by.
func (s *sessions) remain(ctx context.Context) {
	holder := s.holder
	s.name.Store(&holder)
	s.next = candidate{}
	keep := s.kept
	if keep == nil {
		if !s.blank(ctx, holder) {
			return
		}
		told := s.told
		keep = &told
	}
	err := s.tell(ctx, holder, *keep)
	if errors.Is(err, bird.ErrOnTrial) {
		err = nil
	}
	if err == nil {
		s.kept = keep
	}
	s.health.Set(speakers.Title(holder), err)
}

// blank tells whether a speaker has no peers. BIRD starts with those that it had.
func (s *sessions) blank(ctx context.Context, name string) bool {
	if name == v1alpha1.SpeakerBIRD {
		return false
	}
	all, err := s.ask(ctx, name)
	return err == nil && len(all) == 0
}

// silenceOthers has all speakers but the node's speak to nobody, so that there are no two sessions with one peer. Of the
// holder of the sessions, where it is one of them, it tells whether it ran, and whether it is silent now: if it does not run
// what it left is cleared away, as nobody else would.
func (s *sessions) silenceOthers(ctx context.Context) (ran, silent bool) {
	quiet, name := speakerconf.WithoutPeers(s.told), *s.name.Load()
	others := s.others(name)
	for _, gone := range slices.DeleteFunc(s.silenced, func(other string) bool { return slices.Contains(others, other) }) {
		if gone != name {
			s.health.Set(speakers.Title(gone), nil)
		}
	}
	for _, other := range others {
		there, err := s.silence(ctx, other, quiet)
		if other == s.holder {
			if !there && err == nil {
				err = s.clear(other)
			}
			ran, silent = there, err == nil
		}
		s.health.Set(speakers.Title(other), err)
	}
	s.silenced = others
	return ran, silent
}

// others returns which speakers but one there may be.
func (s *sessions) others(but string) []string {
	all := s.all.Others(but)
	if s.managed && but != v1alpha1.SpeakerBIRD {
		all = append(all, v1alpha1.SpeakerBIRD)
	}
	if s.holder != but && !slices.Contains(all, s.holder) {
		all = append(all, s.holder)
	}
	return all
}

// silence has a speaker speak to nobody, and tells whether it runs.
func (s *sessions) silence(ctx context.Context, name string, quiet speaker.Config) (runs bool, err error) {
	if name == v1alpha1.SpeakerBIRD {
		if !s.managed {
			return false, nil
		}
		err = within(ctx, func(ctx context.Context) error { runs, err = s.bird.Retire(ctx, quiet); return err })
		return runs, err
	}
	err = s.tell(ctx, name, quiet)
	if errors.Is(err, extension.ErrDown) || err != nil && !s.all.Up(name) { // killed hard, its record says that it is up
		return false, nil
	}
	return true, err
}
