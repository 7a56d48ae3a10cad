// SPDX-License-Identifier: Apache-2.0

package allocatortest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// recorder is a reporter that keeps the failure.
type recorder struct{ failure string }

func (*recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// find returns what the rule says of the allocator, "" when the allocator keeps it.
func find(t *testing.T, o Options, name string) string {
	t.Helper()
	rules := rulesFor(o)
	i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
	if i < 0 {
		t.Fatalf("there is no rule %s", name)
	}
	var rec recorder
	done := make(chan struct{})
	go func() {
		defer close(done)
		rules[i].check(&rec, o)
	}()
	<-done
	return rec.failure
}

var wrongBinary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "flt-allocatortest-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		wrongBinary = filepath.Join(dir, "wrong")
		if out, err := exec.Command("go", "build", "-o", wrongBinary, "./internal/wrong").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the wrong allocator: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

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
