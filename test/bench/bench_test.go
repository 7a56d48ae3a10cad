// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/conflist"
	"flock.fritzlab.net/flock/test/lab"
)

// tiny measures everything once.
var tiny = plan{Rounds: 1, SlowRounds: 1, Bursts: 1, SlowBursts: 1, Parallel: 2, Few: 2, Many: 20, Starts: 1, Announced: 2, Anycast: 20, Flips: 2}

func TestRunMeasuresEverythingAndLeavesNothing(t *testing.T) {
	r, err := run(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "new", "bench.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var written report
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantKeys(), keysOf(written)); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
	for _, l := range written.Limits {
		if l.Value <= 0 {
			t.Errorf("%s was not measured", l.What)
		}
	}
	mine := fmt.Sprintf("flbench-%d-", os.Getpid())
	left, err := lab.Namespaces(mine)
	folders, gerr := filepath.Glob("/dev/shm/" + mine + "*")
	if err != nil || gerr != nil || len(left)+len(folders) > 0 {
		t.Errorf("left behind: namespaces %v, folders %v (%v, %v)", left, folders, err, gerr)
	}
}

func wantKeys() map[key]bool {
	want := map[key]bool{}
	for _, n := range networks {
		for _, parallel := range []int{1, tiny.Parallel} {
			for _, verb := range []string{"ADD", "DEL"} {
				want[key{n.name, tiny.Few, parallel, verb}] = true
				if n.many {
					want[key{n.name, tiny.Many, parallel, verb}] = true
				}
			}
		}
	}
	for _, program := range append([]string{baseline, empty}, conflist.Stages...) {
		want[key{Subject: program, Parallel: 1, Verb: "start"}] = true
	}
	for _, verb := range []string{"announce", "withdraw"} {
		want[key{Subject: "fixed address", Parallel: 1, Verb: verb}] = true
	}
	for _, k := range []key{readyKey, notReadyKey, lookupKey} {
		want[k] = true
	}
	return want
}

func keysOf(r report) map[key]bool {
	keys := map[key]bool{}
	for _, s := range r.Series {
		keys[s.key] = s.P50 > 0 && s.P99 >= s.P50 && s.Count > 0
	}
	return keys
}

func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := range 200 {
		times = append(times, time.Duration(i+1)*time.Millisecond)
	}
	tests := []struct {
		n, p int
		want float64
	}{
		{0, 50, 0}, {1, 50, 1}, {1, 99, 1}, {2, 50, 1}, {3, 50, 2}, {10, 99, 10}, {100, 99, 99}, {200, 50, 100}, {200, 99, 198},
	}
	for _, tt := range tests {
		if got := percentile(times[:tt.n], tt.p); got != tt.want {
			t.Errorf("p%d of 1 to %d = %v, want %v", tt.p, tt.n, got, tt.want)
		}
	}
}

// filled is a report in which everything took its base and flock as many times longer.
func filled(flock float64) *report {
	r := newReport(tiny)
	note := func(k key, ms float64) { r.note(k, time.Duration(ms*float64(time.Millisecond))) }
	for k := range wantKeys() {
		switch {
		case k.Subject == flockName, strings.HasPrefix(k.Subject, "flock-"), k.Subject == "fixed address":
			note(k, 4*flock)
		case k == readyKey, k == notReadyKey:
			note(k, 40*flock)
		case k == lookupKey:
			note(k, 0.5*flock)
		case k.Subject == ptp64Name:
			note(k, 1000)
		default:
			note(k, 4)
		}
	}
	for _, stage := range conflist.Stages {
		r.size(stage, int64(4e6*flock))
	}
	return r
}

func TestLimits(t *testing.T) {
	if r := filled(1); r.missed() != 0 {
		t.Errorf("at the speed of the others: %+v", r.limits())
	}
	r := filled(6)
	for _, l := range r.limits() {
		if l.OK != strings.HasPrefix(l.What, "ADD, flock with 5,000") {
			t.Errorf("six times as slow, %s: ok is %v", l.What, l.OK)
		}
	}
	none := newReport(tiny)
	if none.missed() != len(none.limits()) {
		t.Errorf("nothing measured: %+v", none.limits())
	}
}

func TestOnePart(t *testing.T) {
	r := newReport(plan{Only: partReady})
	for _, k := range []key{readyKey, notReadyKey, lookupKey} {
		r.note(k, time.Millisecond/2)
	}
	if r.missed() != 0 || len(r.limits()) != 5 {
		t.Errorf("limits of one part: %+v", r.limits())
	}
	var out bytes.Buffer
	if r.print(&out); strings.Contains(out.String(), "ADD") {
		t.Errorf("one part is printed as\n%s", &out)
	}
}

func TestPrint(t *testing.T) {
	r := filled(6)
	r.fail(key{ptp64Name, tiny.Few, 1, "ADD"})
	var out bytes.Buffer
	r.print(&out)
	for _, want := range []string{
		"2 existing attachments, one at a time", "20 existing attachments, 2 at once",
		"flock, four stages, dual-stack  1     24.0  24.0   6.00     24.0  24.0   6.00\n",
		"ptp + host-local, dual-stack  1 (1 failed)   1000.0",
		"ADD, flock dual-stack / ptp IPv4-only             6     ≤ 1.1   MISSED\n",
		"ADD, flock with 5,000 / with 10 attachments       1     ≤ 1.2   ok\n",
	} {
		if got := squeezed(out.String()); !strings.Contains(got, squeezed(want)) {
			t.Errorf("the report does not say %q:\n%s", want, &out)
		}
	}
}

// squeezed makes runs of blanks one: columns are as wide as their contents.
func squeezed(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}
