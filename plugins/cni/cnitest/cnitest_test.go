// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/test/suite"
)

// play returns what the rule says of the plugin, "" when the plugin keeps it.
func play(t *testing.T, p Plugin, name string) string {
	t.Helper()
	versions, err := p.supported()
	if err != nil {
		t.Fatal(err)
	}
	rules := rulesFor(p, versions)
	i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
	if i < 0 {
		t.Fatalf("there is no rule %s", name)
	}
	return suite.Failure(func(t *suite.Recorder) { rules[i].check(t, p, versions) })
}

var wrongBinary string

func TestMain(m *testing.M) { os.Exit(suite.Main(m, "./internal/wrong", &wrongBinary)) }

// wrong returns the test of the plugin with the fault.
func wrong(t *testing.T, fault string, stands Position) Plugin {
	t.Helper()
	link := filepath.Join(filepath.Dir(wrongBinary), fault)
	if err := os.Symlink(wrongBinary, link); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	records := func(h Host) ([]string, error) {
		files, err := filepath.Glob(h.Dir + "/*")
		return slices.DeleteFunc(files, func(f string) bool {
			return filepath.Base(f) == "lock" || strings.Contains(f, "was:")
		}), err
	}
	removeRecord := func(h Host, a Attachment) error {
		return os.Remove(fmt.Sprintf("%s/record:%s:%s:%s", h.Dir, a.Network, a.ContainerID, a.IfName))
	}
	removeLink := func(_ Host, a Attachment) error {
		return In(a.Netns, exec.Command("ip", "link", "delete", a.IfName).Run)
	}
	return Plugin{
		Binary: link, Stands: stands, Timeout: 5 * time.Second,
		Conf:       func(dir string) map[string]any { return map[string]any{"dir": dir} },
		PrevResult: before,
		Observe:    records,
		Break:      []Difference{{"record removed", removeRecord, "record"}, {"link removed", removeLink, "eth0"}},
		Unready:    []Unready{{Name: "directory absent", Conf: func(c map[string]any) { c["dir"] = "/nonexistent" }, Code: 50}},
	}
}

// before plays a plugin that stands before.
func before(_ Host, a Attachment) (*current.Result, error) {
	address := net.IPNet{IP: net.IPv4(198, 51, 100, byte(a.Index)), Mask: net.CIDRMask(32, 32)}
	return &current.Result{IPs: []*current.IPConfig{{Address: address}}}, nil
}

func TestRightPluginKeepsEveryRule(t *testing.T) { Run(t, wrong(t, "right", Originating)) }

// faults lists for each fault the rules that must find it.
var faults = []struct {
	fault  string
	stands Position
	rules  []string
}{
	{"leaks", Originating, []string{"del-frees", "input-long-container-id"}},
	{"needs-prevresult", Originating, []string{"del-without-prevresult", "input-bad-prevresult"}},
	{"hangs", Originating, []string{"del-without-prevresult"}},
	{"needs-netns", Originating, []string{"del-netns-gone"}},
	{"needs-add", Originating, []string{"del-before-add", "del-twice"}},
	{"records-first", Originating, []string{"del-after-failed-add", "missing-variables", "input-unknown-key"}},
	{"deletes-container", Originating, []string{"del-only-its-own"}},
	{"same-version", Originating, []string{"del-other-version"}},
	{"trusts-path", Originating, []string{"del-own-netns"}},
	{"only-once", Originating, []string{"add-after-del"}},
	{"another-address", Originating, []string{"add-twice", "concurrent-same"}},
	{"takes-over", Originating, []string{"add-existing-ifname"}},
	{"points-nowhere", Originating, []string{"add-result"}},
	{"adds-anything", Originating, []string{"add-every-version", "add-unknown-version", "add-bad-netns",
		"input-no-name", "input-bad-names", "input-wrong-types"}},
	{"prints", Originating, []string{"stdout-pure", "add-result"}},
	{"crashes", Originating, []string{"input-malformed", "stdout-pure"}},
	{"says-yes", Originating, []string{"unknown-command", "missing-variables", "check-old-version", "gc-old-version", "status-old-version"}},
	{"checks-nothing", Originating, []string{"check-after-del", "check-without-prevresult", "check-other-address",
		"check-finds/record removed", "check-finds/link removed"}},
	{"finds-ghosts", Originating, []string{"check-after-add"}},
	{"collects-all", Originating, []string{"gc-only-invalid"}},
	{"collects-nothing", Originating, []string{"gc-only-invalid", "gc-empty-list", "gc-netns-gone"}},
	{"needs-no-list", Originating, []string{"gc-without-list"}},
	{"always-ready", Originating, []string{"status-reports/directory absent"}},
	{"never-ready", Originating, []string{"status-ready"}},
	{"lenient", Originating, []string{"input-unknown-key", "input-wrong-types"}},
	{"races", Originating, []string{"concurrent-attachments"}},
	{"leaves-drafts", Originating, []string{"killed-add", "killed-gc"}},
	{"forgets-first", Originating, []string{"killed-del"}},
	{"knows-no-cni", Originating, []string{"input-cni-keys"}},
	{"adds-anything", Chained, []string{"input-bad-prevresult"}},
	{"right", Chained, []string{"add-keeps-prevresult", "add-without-prevresult"}},
	{"right", Delegated, []string{"add-abbreviated"}},
}

func TestWrongPluginsAreFound(t *testing.T) {
	defer func(p time.Duration) { patience = p }(patience)
	patience = 300 * time.Millisecond // each of them would take the whole of it
	for _, f := range faults {
		for _, name := range f.rules {
			t.Run(f.fault+"/"+name, func(t *testing.T) {
				p := wrong(t, f.fault, f.stands)
				if f.fault == "hangs" {
					p.Timeout = time.Second
				}
				failure := play(t, p, name)
				if failure == "" {
					t.Fatal("the rule found nothing")
				}
				if !strings.Contains(failure, "\trule: ") || !strings.Contains(failure, "\tspec: ") {
					t.Errorf("it does not quote the rule: %s", failure)
				}
				t.Log(failure)
			})
		}
	}
}

// TestEveryRuleCanFail holds the table above to the rules that there are.
func TestEveryRuleCanFail(t *testing.T) {
	covered := map[string]bool{"versions": true}
	for _, f := range faults {
		for _, name := range f.rules {
			covered[name] = true
		}
	}
	for _, stands := range []Position{Originating, Chained, Delegated} {
		rules, err := Rules(wrong(t, "right", stands))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			if !covered[r.Name] {
				t.Errorf("no wrong plugin is found by %s", r.Name)
			}
		}
	}
}

func TestVersionsMissing(t *testing.T) {
	p := wrong(t, "right", Originating)
	p.Versions = []string{"1.1.0", "2.0.0"}
	if failure := play(t, p, "versions"); !strings.Contains(failure, "2.0.0") {
		t.Errorf("the rule says %q", failure)
	}
}
