// SPDX-License-Identifier: Apache-2.0

package allocatortest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/test/suite"
)

// find returns what the rule says of the allocator, "" when the allocator keeps it.
func find(t *testing.T, o Options, name string) string {
	t.Helper()
	rules := rulesFor(o)
	i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
	if i < 0 {
		t.Fatalf("there is no rule %s", name)
	}
	return suite.Failure(func(t *suite.Recorder) { rules[i].check(t, o) })
}

var wrongBinary string

func TestMain(m *testing.M) { os.Exit(suite.Main(m, "./internal/wrong", &wrongBinary)) }

// wrong returns the test of the allocator with the fault.
func wrong(t *testing.T, fault string) Options {
	t.Helper()
	program := filepath.Join(t.TempDir(), "allocator-"+fault)
	if err := os.Link(wrongBinary, program); err != nil {
		t.Fatal(err)
	}
	return Options{
		Start:   Program(program),
		Refused: func() allocator.Pod { return allocator.Pod{Namespace: "refused", Name: "web-0"} },
		Timeout: time.Second,
	}
}

func TestRightAllocatorKeepsEveryRule(t *testing.T) {
	o := wrong(t, "right")
	o.Timeout = 10 * time.Second
	Run(t, o)
}

// faults lists for each fault the rules that must find it.
var faults = map[string][]string{
	"ignores-within":     {"allocate-inside"},
	"outside":            {"allocate-inside"},
	"other-family":       {"allocate-inside"},
	"hangs":              {"allocate-inside"},
	"crashes":            {"allocate-inside"},
	"ignores-aside":      {"allocate-aside"},
	"another-address":    {"allocate-again"},
	"races":              {"allocate-unique"},
	"shares-name":        {"allocate-unique", "release-only-own"},
	"shares-address":     {"allocate-same-pod"},
	"never-exhausted":    {"allocate-exhausted"},
	"refuses-when-full":  {"allocate-exhausted"},
	"keeps-edges":        {"pools-small"},
	"forgets-pool":       {"pools-two"},
	"releases-one":       {"pools-two"},
	"never-releases":     {"release-frees", "list-true"},
	"complains":          {"release-nothing"},
	"releases-container": {"release-only-own"},
	"lists-all":          {"list-true"},
	"lists-nothing":      {"list-true"},
	"lives-tomorrow":     {"list-true"},
	"loses-cancelled":    {"cancel-loses-nothing"},
	"forgets":            {"restart-remembers"},
	"releases-in-memory": {"restart-released"},
	"serves-all":         {"allocate-refused"},
}

func TestWrongAllocatorsAreFound(t *testing.T) {
	for fault, rules := range faults {
		for _, name := range rules {
			t.Run(fault+"/"+name, func(t *testing.T) {
				failure := find(t, wrong(t, fault), name)
				if failure == "" {
					t.Fatal("the rule found nothing")
				}
				if !strings.Contains(failure, "\trule: ") {
					t.Errorf("it does not quote the rule: %s", failure)
				}
				t.Log(failure)
			})
		}
	}
}

// TestEveryRuleCanFail holds the table above to the rules that there are.
func TestEveryRuleCanFail(t *testing.T) {
	found := map[string]bool{}
	for _, rules := range faults {
		for _, name := range rules {
			found[name] = true
		}
	}
	for _, r := range Rules(wrong(t, "right")) {
		if !found[r.Name] {
			t.Errorf("no wrong allocator is found by %s", r.Name)
		}
	}
}

func TestAbsentProgram(t *testing.T) {
	if _, _, err := Program("/nonexistent/allocator-none")(); err == nil || !strings.Contains(err.Error(), "/nonexistent/allocator-none") {
		t.Errorf("got %v", err)
	}
}
