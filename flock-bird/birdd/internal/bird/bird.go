// SPDX-License-Identifier: Apache-2.0

// Package bird is the speaker that birdd has built in: BIRD, a process that somebody else runs, by its configuration
// file and its control socket.
package bird

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/birdconf"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/reload"
	"flock.fritzlab.net/flock/internal/birdctl"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// Socket returns where BIRD's control socket is in the state folder.
func Socket(stateDir string) string { return filepath.Join(stateDir, "bird.ctl") }

// Marker returns the file in the state folder that says that BIRD has run since the node booted.
func Marker(stateDir string) string { return filepath.Join(stateDir, "bird.ran") }

// Ran tells whether flock has run BIRD since the node booted.
func Ran(stateDir string) bool {
	_, err := os.Stat(Marker(stateDir))
	return err == nil
}

// ErrOnTrial tells that BIRD goes by the configuration, and that no session has come up by it yet, where there was
// one before: unless one does, BIRD returns to what it went by. Ask again.
var ErrOnTrial = errors.New("the configuration is on trial")

// Options say where BIRD is. Conf and Patience are of no matter to one who only asks for the status.
type Options struct {
	// Conf is BIRD's configuration file, Socket its control socket.
	Conf, Socket string
	// Patience is how long a configuration may be without a session where there was one before.
	Patience time.Duration
	// Done is told what became of each attempt to have BIRD run another configuration, unless nil.
	Done func(reload.Outcome)
}

// Speaker is BIRD, a [speaker.Speaker].
type Speaker struct {
	Options

	mu     sync.Mutex
	loader reload.Loader
	config speaker.Config // that text is of
	text   reload.Text
}

// New returns the BIRD of the options, which need not run.
func New(o Options) *Speaker {
	if o.Done == nil {
		o.Done = func(reload.Outcome) {}
	}
	return &Speaker{Options: o, loader: reload.Loader{File: o.Conf, Socket: o.Socket, Patience: o.Patience, Now: time.Now}}
}

// Configure has BIRD run the config's bird.conf: BIRD checks it first, and returns to what it ran before where all
// sessions are lost. [ErrOnTrial] tells that this is not decided. See [speaker.Speaker].
func (s *Speaker) Configure(ctx context.Context, c speaker.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	outcome, err := s.configure(ctx, c)
	if outcome != reload.Unchanged && outcome != reload.Waiting {
		s.Done(outcome)
	}
	return err
}

func (s *Speaker) configure(ctx context.Context, c speaker.Config) (reload.Outcome, error) {
	if err := s.render(c); err != nil {
		return reload.Failed, err
	}
	outcome, err := s.loader.Ensure(ctx, s.text)
	switch outcome {
	case reload.Waiting:
		return outcome, ErrOnTrial
	case reload.Failed: // BIRD may be waiting for somebody to put the file back
		err = errors.Join(err, Bootstrap(s.Conf))
	}
	if word := (*birdctl.Error)(nil); errors.As(err, &word) {
		err = &speaker.RefusedError{Field: "bgp", Reason: err.Error()}
	}
	return outcome, err
}

// render brings the text to the config.
func (s *Speaker) render(c speaker.Config) error {
	if s.text.Conf != nil && reflect.DeepEqual(c, s.config) {
		return nil
	}
	conf, err := birdconf.Render(c)
	if err != nil {
		return err
	}
	foreign := c
	foreign.Own = nil
	meant, err := birdconf.Render(foreign)
	if err != nil {
		return err
	}
	s.config, s.text = c, reload.Text{Conf: conf, Peers: len(c.Peers), Meant: meant}
	return nil
}

// Retire has BIRD speak to nobody, where one runs, and one that is started later too: the config has no peers. It tells
// whether one runs.
func (s *Speaker) Retire(ctx context.Context, c speaker.Config) (runs bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	outcome, err := s.configure(ctx, c)
	if outcome != reload.Failed {
		return true, err
	}
	if runs = !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED); !runs {
		err = nil
	}
	conf, rerr := os.ReadFile(s.Conf)
	if rerr == nil && !bytes.Equal(conf, s.text.Conf) {
		rerr = reload.Write(s.Conf, s.text.Conf)
	}
	return runs, errors.Join(err, rerr)
}

// Reach returns an error unless BIRD answers.
func (s *Speaker) Reach(ctx context.Context) error {
	conn, err := birdctl.Dial(ctx, s.Socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Stop ends BIRD. See [speaker.Speaker].
func (s *Speaker) Stop(ctx context.Context, mode speaker.StopMode) error {
	conn, err := birdctl.Dial(ctx, s.Socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if mode == speaker.StopGraceful {
		err = conn.GracefulRestart(ctx)
	} else {
		err = conn.Down(ctx)
	}
	if err != nil {
		return err
	}
	return conn.AwaitEnd(ctx)
}

// Rescan has BIRD read the announcement table's IPv4 routes. BIRD does so in a timer, and sends what a timer has found
// when something else wakes it, or after 3 seconds: here the end of the connection wakes it.
func (s *Speaker) Rescan(ctx context.Context) error {
	conn, err := birdctl.Dial(ctx, s.Socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.ReloadIn(ctx, birdconf.KernelAnnounce4)
}

// Bootstrap makes the configuration file if it is missing: BIRD does not start without one.
func Bootstrap(file string) error {
	_, err := os.Stat(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return reload.Write(file, birdconf.Bootstrap)
}

// Prepare makes the configuration file and its folder where they are missing.
func Prepare(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("make BIRD's folder: %w", err)
	}
	return Bootstrap(file)
}
