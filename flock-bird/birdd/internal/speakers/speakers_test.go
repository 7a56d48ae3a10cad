// SPDX-License-Identifier: Apache-2.0

package speakers

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/internal/extension"
)

func newSet(t *testing.T) (*Set, string) {
	t.Helper()
	dir := t.TempDir()
	s := New(dir, bird.New(bird.Options{Socket: bird.Socket(dir)}), nil)
	t.Cleanup(func() { s.Close() })
	return s, dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoted(t *testing.T) {
	s, dir := newSet(t)
	for _, want := range []string{"bird", "gobgp", "bird"} {
		if want == "gobgp" || want == "bird" && slices.Contains(list(t, dir), "birdd-speaker") {
			must(t, s.Note(want))
		}
		if name, err := s.Noted(); err != nil || name != want {
			t.Errorf("Noted() = %q, %v, want %s", name, err, want)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "birdd-speaker"), []byte("../gobgp\n"), 0o600))
	if name, err := s.Noted(); err == nil || !strings.Contains(err.Error(), "holds no name") {
		t.Errorf("Noted() of a bad note = %q, %v", name, err)
	}
	if left := list(t, dir); !slices.Equal(left, []string{"birdd-speaker"}) {
		t.Errorf("the folder holds %v", left)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOthers(t *testing.T) {
	s, dir := newSet(t)
	if got := s.Others("bird"); len(got) > 0 {
		t.Errorf("Others of nothing: %v", got)
	}
	for _, name := range []string{"speaker-gobgp.json", "speaker-b.json", "speaker-a.json.next", "speaker-.json", "allocator-x.json", "birdd.json", "speaker-A.json"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	if got := s.Others("bird"); !slices.Equal(got, []string{"b", "gobgp"}) {
		t.Errorf("Others(bird) = %v", got)
	}
	if got := s.Others("gobgp"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("Others(gobgp) = %v", got)
	}
}

func TestGet(t *testing.T) {
	s, _ := newSet(t)
	if one, err := s.Get("bird"); err != nil || one == nil {
		t.Errorf("Get(bird) = %v, %v", one, err)
	}
	_, err := s.Get("gobgp")
	if !errors.Is(err, extension.ErrDown) || !strings.Contains(err.Error(), `reach speaker gobgp: `) || !strings.Contains(err.Error(), `have "birdd speaker gobgp" run on the node`) {
		t.Errorf("Get of what nobody runs: %v", err)
	}
}

// TestKeep: the metrics tell of the extensions that are kept.
func TestKeep(t *testing.T) {
	metrics := extension.NewMetrics("birdd")
	s := New(t.TempDir(), nil, metrics)
	for _, name := range []string{"gobgp", "gobpg"} {
		if s.Up(name) {
			t.Errorf("%s is up", name)
		}
	}
	s.Keep("gobgp", "other")
	families, err := registry(t, metrics).Gather()
	must(t, err)
	var up []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "flock_birdd_extension_up" {
				up = append(up, m.GetLabel()[0].GetValue())
			}
		}
	}
	if !slices.Equal(up, []string{"speaker-gobgp"}) {
		t.Errorf("the metrics tell of %v", up)
	}
}

func registry(t *testing.T, c prometheus.Collector) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewRegistry()
	must(t, r.Register(c))
	return r
}
