// SPDX-License-Identifier: Apache-2.0

// Package speakers reaches the BGP speakers of the node: BIRD, and the extensions that "birdd speaker" runs.
package speakers

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// Kind is what speakers that are extensions have in common.
var Kind = extension.Kind{Name: speaker.Kind, Handshake: speaker.Handshake, Versions: speaker.VersionedPlugins}

// Set is the node's speakers.
type Set struct {
	stateDir string
	bird     *bird.Speaker
	metrics  *extension.Metrics

	mu      sync.Mutex
	remotes map[string]*extension.Remote
}

// New returns the speakers whose records and sockets are in the state folder. BIRD is nil where it is to be left alone.
func New(stateDir string, bird *bird.Speaker, metrics *extension.Metrics) *Set {
	return &Set{stateDir: stateDir, bird: bird, metrics: metrics, remotes: map[string]*extension.Remote{}}
}

// Close ends the connections to extensions, which go on.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, r := range s.remotes {
		errs = append(errs, r.Close())
	}
	clear(s.remotes)
	return errors.Join(errs...)
}

// Title returns what people call the speaker of the name.
func Title(name string) string {
	if name == v1alpha1.SpeakerBIRD {
		return "BIRD"
	}
	return speaker.Kind + " " + name
}

// Get returns the speaker of the name, for a call or a few. Where it is an extension that is not up the error says why.
func (s *Set) Get(name string) (speaker.Speaker, error) {
	if name == v1alpha1.SpeakerBIRD {
		return s.bird, nil
	}
	client, err := s.remote(name).Client()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reach %s: %w: have \"birdd speaker %s\" run on the node", Title(name), err, name)
	case err != nil:
		return nil, fmt.Errorf("reach %s: %w", Title(name), err)
	}
	return client.(speaker.Speaker), nil
}

// Up tells whether the extension of the name is there: its record says so, and somebody is at its socket.
func (s *Set) Up(name string) bool { return s.remote(name).State().Up }

// Keep ends the connections to all extensions but these, which then are in the metrics no more.
func (s *Set) Keep(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range s.remotes {
		if !slices.Contains(names, name) {
			r.Close() // it is not used again
			delete(s.remotes, name)
		}
	}
}

func (s *Set) remote(name string) *extension.Remote {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remotes[name] == nil {
		s.remotes[name] = extension.NewRemote(Kind, name, s.stateDir, s.metrics)
	}
	return s.remotes[name]
}

// Others returns the names of the extensions that there are records of, but for one.
func (s *Set) Others(but string) []string {
	prefix, suffix, _ := strings.Cut(filepath.Base(extension.RecordPath("", speaker.Kind, "*")), "*")
	entries, err := os.ReadDir(s.stateDir)
	if err != nil {
		return nil // whatever it is, there is no extension to reach
	}
	var names []string
	for _, e := range entries {
		name, is := strings.CutPrefix(e.Name(), prefix)
		name, ends := strings.CutSuffix(name, suffix)
		if is && ends && name != but && extension.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// noteFile is where birdd notes which speaker has the node's sessions.
func noteFile(stateDir string) string { return filepath.Join(stateDir, "birdd-speaker") }

// Note notes which speaker has the node's sessions.
func (s *Set) Note(name string) error {
	file := noteFile(s.stateDir)
	if err := os.WriteFile(file+".next", []byte(name+"\n"), 0o644); err != nil {
		return fmt.Errorf("note the node's speaker: %w", err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		return fmt.Errorf("note the node's speaker: %w", err)
	}
	return nil
}

// Noted returns which speaker has the node's sessions: BIRD where birdd never noted any.
func (s *Set) Noted() (string, error) {
	text, err := os.ReadFile(noteFile(s.stateDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read which speaker the node has: %w", err)
	}
	name := strings.TrimSuffix(string(text), "\n")
	if name != "" && extension.CheckName(name) != nil {
		return "", fmt.Errorf("read which speaker the node has: %s holds no name", noteFile(s.stateDir))
	}
	return cmp.Or(name, v1alpha1.SpeakerBIRD), nil
}
