// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
)

// What birdd has to get right before it is ready.
const (
	areaNodeConfig = "NodeConfig"
	areaSummaries  = "summaries"
	areaBird       = "BIRD"
)

// areaPeer names what is wrong with one peer alone.
func areaPeer(name string) string { return "peer " + name }

// problems knows what is wrong at the moment. A problem is logged when it appears and when it has gone,
// and the state folder's [status.ProblemsFile] tells of it.
type problems struct {
	log   *slog.Logger
	file  string
	needs []string // the areas that have to be right
	now   func() time.Time

	mu   sync.Mutex
	seen map[string]bool // areas that were reported on
	open map[string]status.Problem
}

func newProblems(log *slog.Logger, stateDir string, needs []string) *problems {
	return &problems{
		log: log, file: filepath.Join(stateDir, status.ProblemsFile), needs: needs, now: time.Now,
		seen: map[string]bool{}, open: map[string]status.Problem{},
	}
}

// set notes how an area is: err, or well.
func (p *problems) set(area string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[area] = true
	before, was := p.open[area]
	switch {
	case err == nil && was:
		p.log.Info("solved", "area", area, "problem", before.Text)
		delete(p.open, area)
	case err != nil && before.Text != err.Error():
		p.log.Error("problem", "area", area, "problem", err.Error())
		p.open[area] = status.Problem{Area: area, Text: err.Error(), Since: p.now().UTC().Truncate(time.Second)}
	default:
		return
	}
	if err := p.write(); err != nil {
		p.log.Error("write problems", "error", err)
	}
}

// keepPeers forgets the problems of peers other than these.
func (p *problems) keepPeers(names []string) {
	for area := range p.list() {
		is := func(name string) bool { return areaPeer(name) == area }
		if !slices.Contains(p.needs, area) && !slices.ContainsFunc(names, is) {
			p.set(area, nil)
		}
	}
}

func (p *problems) list() map[string]status.Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.open)
}

// ready returns an error that says what birdd is not ready for.
func (p *problems) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, area := range p.needs {
		if problem, is := p.open[area]; is {
			return fmt.Errorf("%s: %s", area, problem.Text)
		}
		if !p.seen[area] {
			return fmt.Errorf("%s: not yet", area)
		}
	}
	return nil
}

func (p *problems) write() error {
	sorted := make([]status.Problem, 0, len(p.open))
	for _, area := range slices.Sorted(maps.Keys(p.open)) {
		sorted = append(sorted, p.open[area])
	}
	text, err := json.MarshalIndent(sorted, "", "  ")
	if err != nil {
		return err
	}
	// Nothing depends on it after a crash, so that it need not be synced.
	next := p.file + ".next"
	if err := os.WriteFile(next, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(next, p.file)
}
