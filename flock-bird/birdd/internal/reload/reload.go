// SPDX-License-Identifier: Apache-2.0

// Package reload makes BIRD run a configuration, and keeps it from one that it cannot parse or that costs
// the node every session.
package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	Unchanged Outcome = "unchanged" // BIRD runs the text already
	Loaded    Outcome = "loaded"    // BIRD runs the text now
	Waiting   Outcome = "waiting"   // BIRD runs the text, and no session has come up yet: ask again
	Refused   Outcome = "refused"   // BIRD runs what it ran before, and so says the file
	Failed    Outcome = "failed"    // BIRD, or the file, could not be reached
)

// Text is a configuration and how many peers it has.
type Text struct {
	Conf  []byte
	Peers int
}

// ErrLostSessions tells that a configuration cost every session and was undone.
var ErrLostSessions = errors.New("no session came up again")

// Loader makes BIRD run configurations. It is for one caller at a time.
type Loader struct {
	// File is where BIRD's configuration is, Socket BIRD's control socket.
	File, Socket string
	// Patience is how long a configuration may be without a session where there was one before.
	Patience time.Duration
	Now      func() time.Time

	conn     *birdctl.Conn
	loaded   []byte // what BIRD runs; nil when that is not known
	trial    *trial
	rejected *rejected
}

// rejected is a configuration that was undone for its sessions.
type rejected struct {
	conf []byte
	// until is when the sessions from before must be up again.
	until time.Time
}

// trial is a configuration that has not proved itself.
type trial struct {
	conf     []byte
	before   previous
	deadline time.Time
}

// undoMargin is how much later than birdd BIRD itself undoes a configuration that nobody confirms.
const undoMargin = 10 * time.Second

// Ensure makes BIRD run the text and the file hold it. A text that BIRD refuses, or that cost every
// session for as long as Patience, changes neither; the error says why. The latter is not tried again
// before there is no session to lose, Patience after it was undone.
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
	l.conn, l.loaded, l.trial = nil, nil, nil
}

func (l *Loader) ensure(ctx context.Context, text Text) (Outcome, error) {
	up, err := l.sessions(ctx)
	if err != nil {
		return Failed, err
	}
	switch {
	case l.trial != nil && bytes.Equal(text.Conf, l.trial.conf):
		return l.judge(ctx, up)
	case l.trial != nil:
		if err := l.undo(ctx); err != nil {
			return Failed, err
		}
		up = 1 // in a moment
	case bytes.Equal(text.Conf, l.loaded):
		return Unchanged, nil
	}
	if r := l.rejected; r != nil && bytes.Equal(text.Conf, r.conf) && (up > 0 || l.Now().Before(r.until)) {
		return Refused, l.lost()
	}
	return l.load(ctx, text, up)
}

// sessions returns how many of flock's sessions are up, none while BIRD is still changing them. It
// connects where there is no connection: a broken one means another BIRD.
func (l *Loader) sessions(ctx context.Context) (int, error) {
	if l.conn != nil {
		if up, err := established(ctx, l.conn); err == nil {
			return up, nil
		}
		l.forget()
	}
	conn, err := birdctl.Dial(ctx, l.Socket)
	if err != nil {
		return 0, err
	}
	l.conn = conn
	return established(ctx, conn)
}

func established(ctx context.Context, c *birdctl.Conn) (int, error) {
	status, err := c.Status(ctx)
	if err != nil || status.Reconfiguring {
		return 0, err
	}
	protocols, err := c.ShowProtocols(ctx)
	if err != nil {
		return 0, err
	}
	ours := slices.DeleteFunc(protocols, func(p birdctl.Protocol) bool {
		_, is := v1alpha1.PeerName(p.Name)
		return !is || !p.Established()
	})
	return len(ours), nil
}

// load checks, writes and loads a text that BIRD does not run.
func (l *Loader) load(ctx context.Context, text Text, up int) (Outcome, error) {
	before, err := readPrevious(l.File)
	if err != nil {
		return Failed, fmt.Errorf("read the configuration before: %w", err)
	}
	next := l.File + ".next"
	if err := stage(next, text.Conf); err != nil {
		return Failed, err
	}
	if err := l.conn.Check(ctx, next); err != nil {
		return l.refusal(fmt.Errorf("check configuration: %w", err), os.Remove(next))
	}
	if err := commit(next, l.File); err != nil {
		return Failed, err
	}
	if err := l.conn.Configure(ctx, l.File, l.Patience+undoMargin); err != nil {
		return l.refusal(fmt.Errorf("load configuration: %w", err), before.restore(l.File))
	}
	l.loaded, l.rejected = nil, nil
	l.trial = &trial{conf: text.Conf, before: before, deadline: l.Now().Add(l.Patience)}
	if up == 0 || text.Peers == 0 {
		return l.confirm(ctx) // there is no session to lose, or none is wanted
	}
	if up, err = established(ctx, l.conn); err != nil {
		return Failed, err
	}
	return l.judge(ctx, up)
}

// refusal is Refused if it is BIRD's own, with its words, and Failed if not.
func (l *Loader) refusal(err, cleanup error) (Outcome, error) {
	err = errors.Join(err, cleanup)
	if refused := (*birdctl.Error)(nil); errors.As(err, &refused) && cleanup == nil {
		return Refused, err
	}
	return Failed, err
}

// judge confirms the trial when a session is up, and undoes it when none has been for too long.
func (l *Loader) judge(ctx context.Context, up int) (Outcome, error) {
	if up > 0 {
		return l.confirm(ctx)
	}
	if l.Now().Before(l.trial.deadline) {
		return Waiting, nil
	}
	conf := l.trial.conf
	if err := l.undo(ctx); err != nil {
		return Failed, err
	}
	l.rejected = &rejected{conf: conf, until: l.Now().Add(l.Patience)}
	return Refused, l.lost()
}

func (l *Loader) confirm(ctx context.Context) (Outcome, error) {
	if err := l.conn.Confirm(ctx); err != nil {
		return Failed, err
	}
	l.loaded, l.trial = l.trial.conf, nil
	return Loaded, nil
}

// undo returns BIRD and the file to what was before the trial.
func (l *Loader) undo(ctx context.Context) error {
	t := l.trial
	l.trial = nil
	if err := errors.Join(l.conn.Undo(ctx), t.before.restore(l.File)); err != nil {
		return fmt.Errorf("undo configuration: %w", err)
	}
	l.loaded = t.before.text
	return nil
}

func (l *Loader) lost() error {
	return fmt.Errorf("undo configuration: %w within %s: correct the peers, or end the other sessions for it to be tried again",
		ErrLostSessions, l.Patience)
}
