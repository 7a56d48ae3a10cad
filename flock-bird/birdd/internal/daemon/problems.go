// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
	"flock.fritzlab.net/flock/internal/health"
)

// The areas of birdd's work, besides those of speakers that are extensions, see [speakers.Title]. It is ready when
// those that have to be are right: the NodeConfig, the summaries and, unless it is foreign, the node's speaker.
const (
	areaNodeConfig  = "NodeConfig"
	areaSummaries   = "summaries"
	areaLook        = "look"
	areaStatus      = "status"
	areaAnycast     = "anycast"
	areaServer      = "API server"
	areaNodeConfigs = "watch of NodeConfigs"
	areaPods        = "watch of pods"
	areaNode        = "Node"
	areaPeer        = "peer " // and its name: what is wrong with one peer alone
)

// newHealth returns a health that notes the problems in the state folder's [status.ProblemsFile] as well.
func newHealth(o Options) *health.Health {
	h := health.New(o.Log)
	note := func(problems []health.Problem) { noteProblems(o.Log, o.StateDir, problems) }
	h.OnChange(note)
	note(h.Problems()) // those of an earlier birdd are no more
	return h
}

// needs returns what birdd's readiness depends on.
func needs(s *sessions) []string {
	areas := []string{areaNodeConfig, areaSummaries}
	if !s.foreign() {
		areas = append(areas, s.area())
	}
	return areas
}

// noteProblems writes the file. Nothing depends on it after a crash, so that it need not be synced.
func noteProblems(log *slog.Logger, stateDir string, problems []health.Problem) {
	text, err := json.MarshalIndent(problems, "", "  ")
	if err == nil {
		file := filepath.Join(stateDir, status.ProblemsFile)
		err = os.WriteFile(file+".next", append(text, '\n'), 0o644)
		if err == nil {
			err = os.Rename(file+".next", file)
		}
	}
	if err != nil {
		log.Error("note problems", "error", err)
	}
}

// setPeers notes which peers are left out, and why, and that the others are not.
func setPeers(h *health.Health, leftOut map[string]error) {
	for name := range peerProblems(h) {
		if leftOut[name] == nil {
			h.Set(areaPeer+name, nil)
		}
	}
	for name, err := range leftOut {
		h.Set(areaPeer+name, fmt.Errorf("left out: %w", err))
	}
}

// peerProblems returns which peers are left out, and why.
func peerProblems(h *health.Health) map[string]string {
	all := map[string]string{}
	for _, p := range h.Problems() {
		if name, is := strings.CutPrefix(p.Area, areaPeer); is {
			all[name] = p.Text
		}
	}
	return all
}

// problemOf returns what is wrong in an area, nil for nothing.
func problemOf(h *health.Health, area string) error {
	problems := h.Problems()
	i := slices.IndexFunc(problems, func(p health.Problem) bool { return p.Area == area })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("%s", problems[i].Text)
}
