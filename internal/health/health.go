// SPDX-License-Identifier: Apache-2.0

// Package health knows how a daemon is, and tells it: in the log, by HTTP, and to who asks inside.
package health

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Health holds what is wrong in each area of a daemon's work, and which of its loops live. A problem is
// logged when it appears, when it changes and when it is solved, not each time that it is met again.
type Health struct {
	log     *slog.Logger
	needs   []string
	changed func([]Problem)

	mu       sync.Mutex
	seen     map[string]bool // areas that were reported on
	problems map[string]Problem
	loops    map[string]*loop
}

// Problem is what is wrong in one area.
type Problem struct {
	Area  string    `json:"area"`
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// loop is overdue when it has not shown itself for longer than its limit.
type loop struct {
	limit time.Duration
	last  time.Time
}

// New returns a Health that is ready when every area that it needs was reported on and is well; there
// may be problems in others.
func New(log *slog.Logger, needs ...string) *Health {
	return &Health{log: log, needs: needs, changed: func([]Problem) {},
		seen: map[string]bool{}, problems: map[string]Problem{}, loops: map[string]*loop{}}
}

// Need has readiness depend on these areas from now on.
func (h *Health) Need(areas ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.needs = areas
}

// OnChange has the problems handed on whenever they change, in the order of their areas. It is called
// before anything is set, and the function calls nothing of the Health's.
func (h *Health) OnChange(changed func([]Problem)) { h.changed = changed }

// Set notes how an area is: what is wrong, or nil.
func (h *Health) Set(area string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[area] = true
	before, was := h.problems[area]
	switch {
	case err == nil && was:
		h.log.Info("solved", "area", area, "problem", before.Text)
		delete(h.problems, area)
	case err != nil && (!was || before.Text != err.Error()):
		h.log.Error("problem", "area", area, "problem", err.Error())
		h.problems[area] = Problem{area, err.Error(), time.Now().UTC().Truncate(time.Second)}
	default:
		return
	}
	h.changed(h.sorted())
}

// Problems returns what is wrong, in the order of the areas.
func (h *Health) Problems() []Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sorted()
}

func (h *Health) sorted() []Problem {
	sorted := make([]Problem, 0, len(h.problems))
	for _, area := range slices.Sorted(maps.Keys(h.problems)) {
		sorted = append(sorted, h.problems[area])
	}
	return sorted
}

// Ready returns what the daemon is not ready for, nil when it is ready for everything.
func (h *Health) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var missing []error
	for _, area := range h.needs {
		if problem, is := h.problems[area]; is {
			missing = append(missing, fmt.Errorf("%s: %s", area, problem.Text))
		} else if !h.seen[area] {
			missing = append(missing, fmt.Errorf("%s: not yet", area))
		}
	}
	return errors.Join(missing...)
}

// Loop returns what a loop has to call at least once within the limit to be taken for alive. The limit
// is well above the longest time that one turn may take, for the daemon is ended and started anew when
// a loop is overdue.
func (h *Health) Loop(name string, limit time.Duration) (alive func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &loop{limit, time.Now()}
	h.loops[name] = l
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		l.last = time.Now()
	}
}

// Alive returns which loops are overdue, nil when none is. A jump of the clock makes none so.
func (h *Health) Alive() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var dead []error
	for _, name := range slices.Sorted(maps.Keys(h.loops)) {
		if silent := time.Since(h.loops[name].last); silent > h.loops[name].limit {
			dead = append(dead, fmt.Errorf("%s: stuck for %s", name, silent.Truncate(time.Second)))
		}
	}
	return errors.Join(dead...)
}
