// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakers"
	"flock.fritzlab.net/flock/internal/health"
	"flock.fritzlab.net/flock/internal/task"
)

// TestLeftoversAreClearedInTheEnd: the speaker before is the one noted until what it left is gone.
func TestLeftoversAreClearedInTheEnd(t *testing.T) {
	dir, failure, cleared := t.TempDir(), errors.New("busy"), 0
	all := speakers.New(dir, bird.New(bird.Options{Socket: bird.Socket(dir)}), nil)
	if err := all.Note("gobgp"); err != nil {
		t.Fatal(err)
	}
	s := &sessions{
		log: slog.New(slog.DiscardHandler), health: health.New(slog.New(slog.DiscardHandler)), all: all, trigger: task.NewTrigger(),
		own: func() ([]netip.Addr, error) { return nil, nil }, passwords: password.Dir(""), first: func() {}, holder: "gobgp",
		clear: func(name string) error {
			if cleared++; name != "gobgp" {
				t.Errorf("what %s left is cleared", name)
			}
			return failure
		},
	}
	name := s.holder
	s.named.Store(&name)
	s.name.Store(&name)
	s.take(&v1alpha1.Config{Name: "node-1", BGP: &v1alpha1.BGPConfig{Speaker: v1alpha1.SpeakerBIRD}})
	for _, want := range []string{"gobgp", "gobgp", "bird", "bird"} {
		if want == "bird" {
			failure = nil
		}
		s.keep(context.Background())
		if noted, err := all.Noted(); err != nil || noted != want {
			t.Errorf("after %d attempts to clear %s is noted, %v, want %s", cleared, noted, err, want)
		}
		if err := problemOf(s.health, "speaker gobgp"); (err != nil) != (failure != nil) {
			t.Errorf("the problem is %v while clearing says %v", err, failure)
		}
	}
	if cleared != 3 {
		t.Errorf("it was cleared %d times, want until it was", cleared)
	}
}
