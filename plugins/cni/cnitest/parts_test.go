// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPure(t *testing.T) {
	const failure = `{"code":7,"msg":"no"}`
	tests := []struct {
		reply reply
		want  string // of the error
	}{
		{reply{command: "ADD", stdout: []byte(`{"ips":[]}`)}, ""},
		{reply{command: "ADD"}, "not JSON"},
		{reply{command: "ADD", stdout: []byte(`{} {}`)}, "more than one"},
		{reply{command: "ADD", stdout: []byte("hello\n{}")}, "not JSON"},
		{reply{command: "VERSION", stdout: []byte(`[]`)}, "not JSON"},
		{reply{command: "DEL"}, ""},
		{reply{command: "DEL", stdout: []byte("{}")}, "prints nothing"},
		{reply{command: "DEL", exit: 1, stdout: []byte(failure)}, ""},
		{reply{command: "DEL", exit: 1}, "without one CNI error object"},
		{reply{command: "DEL", exit: 1, stdout: []byte(failure + failure)}, "more than one"},
		{reply{command: "DEL", exit: 1, stdout: []byte(`{"msg":"no"}`)}, "no code"},
		{reply{command: "DEL", exit: 2, stdout: []byte(`{"code":7}`)}, "no msg"},
		{reply{command: "DEL", exit: -1}, "signal"},
		{reply{command: "DEL", exit: -1, hung: true}, "did not end in time"},
	}
	for _, test := range tests {
		err := test.reply.pure()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v\nis pure: %v, want %q", test.reply, err, test.want)
		}
	}
}

func TestDiff(t *testing.T) {
	before, now := snapshot{"a", "b", "b", "c"}, snapshot{"b", "c", "d"}
	if got, want := before.diff(now), "\t- a\n\t- b\n\t+ d\n"; got != want {
		t.Errorf("diff is\n%swant\n%s", got, want)
	}
	if got := now.diff(snapshot{"d", "c", "b"}); got != "" {
		t.Errorf("the order makes a difference:\n%s", got)
	}
	all := snapshot{"container 1: x", "host: y", "plugin: z"}
	if got := all.host(); !slices.Equal(got, snapshot{"host: y", "plugin: z"}) {
		t.Errorf("the host's part is %v", got)
	}
}

func TestNormal(t *testing.T) {
	for line, want := range map[string]string{
		`2: eth0    inet6 2001:db8::1/128 scope global tentative \       valid_lft forever preferred_lft forever`: "2: eth0 inet6 2001:db8::1/128 scope global",
		"local 192.0.2.1 dev eth0 table local proto kernel":                                                       "",
		"anycast fe80:: dev eth0 table local":                                                                     "",
		"192.0.2.1 dev flock0 proto 72 metric 16 linkdown ":                                                       "192.0.2.1 dev flock0 proto 72 metric 16",
		"blackhole 2001:db8::/64 dev lo table 7273 proto 73":                                                      "blackhole 2001:db8::/64 dev lo table 7273 proto 73",
		"3: flock1@if2: <UP> mtu 1500 link-netns flt-x alias flock:n/c/eth0":                                      "3: flock1@if2: <UP> mtu 1500 alias flock:n/c/eth0",
	} {
		if got := normal(line); got != want {
			t.Errorf("normal(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestAwaitAndSettle(t *testing.T) {
	defer func(p time.Duration) { patience = p }(patience)
	patience = 50 * time.Millisecond
	calls := 0
	late := func() (snapshot, error) {
		if calls++; calls < 3 {
			return snapshot{"early"}, nil
		}
		return snapshot{"late"}, nil
	}
	if diff, err := await(snapshot{"late"}, late); diff != "" || err != nil {
		t.Errorf("await gave up: %q, %v", diff, err)
	}
	if diff, _ := await(snapshot{"never"}, late); !strings.Contains(diff, "- never") {
		t.Errorf("await was content: %q", diff)
	}
	restless := func() (snapshot, error) { calls++; return snapshot{fmt.Sprint(calls)}, nil }
	if _, err := settle(restless); !errors.Is(err, errUnsettled) {
		t.Errorf("settle of what never settles = %v", err)
	}
}

func TestConfig(t *testing.T) {
	own := func(dir string) map[string]any {
		return map[string]any{"stateDir": dir, "runtimeConfig": map[string]any{"a": 1}}
	}
	tests := []struct {
		plugin Plugin
		want   string
	}{
		{Plugin{Binary: "/x/one"}, `{"cniVersion":"1.0.0","name":"net","type":"one"}`},
		{Plugin{Binary: "/x/one", Conf: own},
			`{"cniVersion":"1.0.0","name":"net","runtimeConfig":{"a":1},"stateDir":"/s","type":"one"}`},
		{Plugin{Binary: "/x/one", Conf: own, Stands: Delegated, MainType: "ptp"},
			`{"cniVersion":"1.0.0","ipam":{"stateDir":"/s","type":"one"},"name":"net","runtimeConfig":{"a":1},"type":"ptp"}`},
	}
	for _, test := range tests {
		c := test.plugin.config("/s", "net", "1.0.0")
		if got := string(c.json()); got != test.want {
			t.Errorf("configuration\n%s, want\n%s", got, test.want)
		}
		if keys := test.plugin.ownKeys(c); test.plugin.Conf != nil && !slices.Equal(keys, []string{"stateDir"}) {
			t.Errorf("own keys are %v", keys)
		}
	}
}

func TestAuthorsMistakes(t *testing.T) {
	good := wrong(t, "right", Chained)
	versions, err := good.supported()
	if err != nil {
		t.Fatal(err)
	}
	good.Except = map[string]string{"add-twice": "it is a test"}
	if err := good.valid(rulesFor(good, versions)); err != nil {
		t.Errorf("a good Plugin: %v", err)
	}
	noPrev, typo := good, good
	noPrev.PrevResult, typo.Except = nil, map[string]string{"ad-twice": "typo"}
	for _, bad := range []Plugin{noPrev, typo} {
		if err := bad.valid(rulesFor(bad, versions)); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	if _, err := (Plugin{Binary: "/bin/true"}).supported(); err == nil {
		t.Error("a program that is no plugin was accepted")
	}
}

// TestNothingIsLeft looks for what a rule left that failed in the middle.
func TestNothingIsLeft(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if failure := play(t, wrong(t, "needs-add", Originating), "del-before-add"); failure == "" {
		t.Fatal("the rule did not fail")
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), os.TempDir()) {
		t.Errorf("namespaces are still mounted (%v):\n%s", err, mounts)
	}
}

// TestHookFailure wants an author's error reported as the author's, not as the plugin's.
func TestHookFailure(t *testing.T) {
	p := wrong(t, "right", Originating)
	p.Setup = func(Host) error { return errors.New("no BIRD here") }
	if got := play(t, p, "del-frees"); got != "cnitest.Plugin.Setup: no BIRD here" {
		t.Errorf("it says %q", got)
	}
}
