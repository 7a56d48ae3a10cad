// SPDX-License-Identifier: Apache-2.0

// Package reload makes BIRD run a configuration, and keeps it from one that it cannot parse or that costs
// the node every session.
package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/birdctl"
)

// Outcome is what [Loader.Ensure] did.
type Outcome string

// The outcomes.
const (
	Unchanged Outcome = "unchanged" // nothing was done: BIRD runs the text already, or the error says why it does not
	Loaded    Outcome = "loaded"    // BIRD runs the text now
	Waiting   Outcome = "waiting"   // BIRD runs the text, and no session has come up yet: ask again
	Refused   Outcome = "refused"   // BIRD runs what it ran before
	Failed    Outcome = "failed"    // BIRD, or the file, could not be reached
)

// Text is a configuration and how many peers it has.
type Text struct {
	Conf  []byte
	Peers int
	// Meant is what it says of its own accord, by which it is known again when the node's addresses change.
	Meant []byte
}

// ErrLostSessions tells that a configuration cost every session and was undone.
var ErrLostSessions = errors.New("no session came up again")

// Loader makes BIRD run configurations. It is for one caller at a time.
//
// The file holds what proved itself last, whoever is killed when: that is what a BIRD starts with. Beside it
// stands what is on trial, or was when this birdd or an earlier one was killed, and what was undone.
type Loader struct {
	// File is where BIRD's configuration is, Socket BIRD's control socket.
	File, Socket string
	// Patience is how long a configuration may be without a session where there was one before.
	Patience time.Duration
	Now      func() time.Time

	conn   *birdctl.Conn
	loaded []byte // what BIRD runs; nil when that is not known
	trial  *trial
	// refused is what this BIRD cannot parse.
	refused *refused
	// settled is when the sessions of a BIRD that was started, or of a configuration that was returned to, must
	// be up again.
	settled time.Time
}

// trial is a configuration that has not proved itself.
type trial struct {
	text     Text
	deadline time.Time
}

type refused struct {
	conf []byte
	err  error
}

func (l *Loader) next() string   { return l.File + ".next" }
func (l *Loader) undone() string { return l.File + ".undone" }

// undoMargin is how much later than birdd BIRD itself undoes a configuration that nobody confirms.
const undoMargin = 10 * time.Second

// Ensure makes BIRD run the text and the file hold it. A text that BIRD refuses, or that cost every
// session for as long as Patience, changes neither; the error says why. The latter is not tried again
// before there has been no session to lose for Patience.
func (l *Loader) Ensure(ctx context.Context, text Text) (Outcome, error) {
	outcome, err := l.ensure(ctx, text)
	if outcome == Failed {
		l.forget()
	}
	return outcome, err
}

// forget closes the connection. BIRD may be another one by the next time, or none.
func (l *Loader) forget() {
	if l.conn != nil {
		l.conn.Close()
	}
	l.conn, l.loaded, l.trial, l.refused = nil, nil, nil, nil
}

func (l *Loader) ensure(ctx context.Context, text Text) (Outcome, error) {
	now, err := l.sessions(ctx)
	if err != nil {
		return Failed, err
	}
	switch {
	case l.trial != nil && bytes.Equal(text.Conf, l.trial.text.Conf):
		return l.judge(ctx, now)
	case l.trial != nil:
		if err := l.undo(ctx); err != nil {
			return Failed, err
		}
	case bytes.Equal(text.Conf, l.loaded):
		return Unchanged, nil
	case l.refused != nil && bytes.Equal(text.Conf, l.refused.conf):
		return Unchanged, l.refused.err
	}
	if l.wasUndone(text) && (now.up > 0 || l.Now().Before(l.settled)) {
		return Unchanged, l.lost()
	}
	return l.load(ctx, text, now.up > 0 || l.interrupted())
}

// wasUndone tells whether the text cost every session when it was tried.
func (l *Loader) wasUndone(text Text) bool {
	conf, err := os.ReadFile(l.undone())
	return err == nil && bytes.Equal(conf, text.Meant)
}

// interrupted tells whether a trial did not come to its end: there were sessions when it began.
func (l *Loader) interrupted() bool {
	_, err := os.Stat(l.next())
	return err == nil
}

// sessions returns how flock's sessions are. It connects where there is no connection: a broken one means
// another BIRD.
func (l *Loader) sessions(ctx context.Context) (sessions, error) {
	if l.conn != nil {
		if now, err := look(ctx, l.conn); err == nil {
			return now, nil
		}
		l.forget()
	}
	conn, err := birdctl.Dial(ctx, l.Socket)
	if err != nil {
		return sessions{}, err
	}
	l.conn, l.settled = conn, l.Now().Add(l.Patience)
	return look(ctx, conn)
}

// sessions are how many of flock's are up, and whether BIRD is still changing them.
type sessions struct {
	up       int
	changing bool
}

func look(ctx context.Context, c *birdctl.Conn) (sessions, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return sessions{}, err
	}
	protocols, err := c.ShowProtocols(ctx)
	if err != nil {
		return sessions{}, err
	}
	ours := slices.DeleteFunc(protocols, func(p birdctl.Protocol) bool {
		_, is := v1alpha1.PeerName(p.Name)
		return !is || !p.Established()
	})
	return sessions{len(ours), status.Reconfiguring}, nil
}

// load checks and loads a text that BIRD does not run, on trial where there is a session to lose.
func (l *Loader) load(ctx context.Context, text Text, up bool) (Outcome, error) {
	if err := stage(l.next(), text.Conf); err != nil {
		return Failed, err
	}
	if err := l.conn.Check(ctx, l.next()); err != nil {
		return l.refuse(text, errors.Join(fmt.Errorf("check configuration: %w", err), os.Remove(l.next())))
	}
	if err := l.conn.Configure(ctx, l.next(), l.Patience+undoMargin); err != nil {
		return l.refuse(text, fmt.Errorf("load configuration: %w", err))
	}
	l.loaded, l.trial = nil, &trial{text, l.Now().Add(l.Patience)}
	if !up || text.Peers == 0 {
		return l.confirm(ctx) // there is no session to lose, or none is wanted
	}
	now, err := look(ctx, l.conn)
	if err != nil {
		return Failed, err
	}
	return l.judge(ctx, now)
}

// refuse is Refused if BIRD itself does, with its words, and Failed if not.
func (l *Loader) refuse(text Text, err error) (Outcome, error) {
	if word := (*birdctl.Error)(nil); !errors.As(err, &word) {
		return Failed, err
	}
	l.refused = &refused{text.Conf, err}
	return Refused, err
}

// judge confirms the trial when a session is up, and undoes it when none has been for too long.
func (l *Loader) judge(ctx context.Context, now sessions) (Outcome, error) {
	if now.up > 0 && !now.changing {
		return l.confirm(ctx)
	}
	if l.Now().Before(l.trial.deadline) {
		return Waiting, nil
	}
	meant := l.trial.text.Meant
	if err := l.undo(ctx); err != nil {
		return Failed, err
	}
	if err := errors.Join(Write(l.undone(), meant), os.Remove(l.next())); err != nil {
		return Failed, err
	}
	return Refused, l.lost()
}

func (l *Loader) confirm(ctx context.Context) (Outcome, error) {
	if err := l.conn.Confirm(ctx); err != nil {
		return Failed, err
	}
	if err := commit(l.next(), l.File); err != nil {
		return Failed, err
	}
	l.loaded, l.trial = l.trial.text.Conf, nil
	if err := os.Remove(l.undone()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Loaded, fmt.Errorf("forget what was undone: %w", err)
	}
	return Loaded, nil
}

// undo has BIRD run again what proved itself last. BIRD's own undo would not do: what BIRD ran before the trial may
// have been the same, if an earlier birdd had begun it.
func (l *Loader) undo(ctx context.Context) error {
	l.trial, l.settled = nil, l.Now().Add(l.Patience)
	if err := l.conn.Configure(ctx, l.File, 0); err != nil {
		return fmt.Errorf("undo configuration: %w", err)
	}
	return nil
}

func (l *Loader) lost() error {
	return fmt.Errorf("undo configuration: %w within %s: correct the peers, or end the other sessions for it to be tried again",
		ErrLostSessions, l.Patience)
}
