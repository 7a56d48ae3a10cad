// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

// example is a command that a document shows, and what it shows of the output: not every line of it.
type example struct{ file, command, output string }

// examples reads the console blocks of documents. A command follows "$ ", or "# " on the first node.
func examples(t *testing.T, files ...string) []example {
	t.Helper()
	var all []example
	block := regexp.MustCompile("(?ms)^ *```console\n(.*?)^ *```")
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("../docs", file))
		must(t, err)
		for _, match := range block.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(match[1]) {
				line = strings.TrimSpace(line)
				if strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "# ") {
					all = append(all, example{file: file, command: line})
				} else {
					all[len(all)-1].output += line + "\n"
				}
			}
		}
	}
	return all
}

// varying is what is different each time.
var varying = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?`), "TIME"},
	{regexp.MustCompile(`\bflock[0-9a-f]{8}\b`), "LINK"},
	{regexp.MustCompile(`2001:db8:\d(:[0-9a-f]{0,4}){3,}`), "ADDRESS"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "CONTAINER"},
	{regexp.MustCompile(`\b(\d+[hms])+\b`), "AGE"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

func plain(line string) string {
	for _, v := range varying {
		line = v.pattern.ReplaceAllString(line, v.name)
	}
	return strings.TrimSpace(line)
}

// missing returns the first line of the example that the output has not, in the order of the example.
func (e example) missing(output string) string {
	lines := strings.Split(output, "\n")
	for want := range strings.Lines(e.output) {
		found := false
		for len(lines) > 0 && !found {
			found = plain(lines[0]) == plain(want)
			lines = lines[1:]
		}
		if !found {
			return want
		}
	}
	return ""
}

// shell returns what a command prints that is typed as in the documents. One that fails prints that.
func (s *site) shell(command string) string {
	s.Helper()
	bin, err := apiserver.Build(s.Context())
	must(s.T, err)
	node := s.lab.Nodes[0]
	script := fmt.Sprintf(`kubectl() { %s/kubectl --kubeconfig %s "$@"; }
on() { shift; program=$1; shift; ip netns exec %s %s/$program "$@" --state-dir %s; }
`, bin, s.Kubeconfig(s.T), node.Netns.Name, s.bin, node.StateDir())
	if strings.HasPrefix(command, "# ") {
		script = "exec ip netns exec " + node.Netns.Name + " "
	}
	out, err := exec.CommandContext(s.Context(), "sh", "-c", script+command[2:]).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s\n%s", out, err)
	}
	return string(out)
}

// until waits until the command prints the text.
func (s *site) until(text, command string) {
	s.Helper()
	must(s.T, lab.Within(s.Context(), 30*time.Second, command+" shows "+text, func() error {
		if out := s.shell(command); !strings.Contains(plain(out), text) {
			return errors.New(out)
		}
		return nil
	}))
}

// TestDocuments runs what the documents show on a site that comes into the states which they tell of.
func TestDocuments(t *testing.T) {
	s := newSite(t)
	all := examples(t, "install.md", "conditions.md", "troubleshooting.md")
	if len(all) < 8 {
		t.Fatalf("the documents have %d examples", len(all))
	}
	outputs := map[string][]string{}
	for _, state := range []func(){s.serve, s.refuse, s.suffer} {
		state()
		for _, e := range all {
			outputs[e.command] = append(outputs[e.command], s.shell(e.command))
		}
	}
	for _, e := range all {
		var missing []string
		for _, output := range outputs[e.command] {
			missing = append(missing, e.missing(output))
		}
		if !slices.Contains(missing, "") {
			t.Errorf("%s: %q never printed %q, but\n%s", e.file, e.command, missing, strings.Join(outputs[e.command], "---\n"))
		}
	}
}

var anycast = map[string]string{"flock.fritzlab.net/anycast": "2001:db8:f::53"}

// serve has both nodes well, with pods of each kind.
func (s *site) serve() {
	s.Helper()
	one, two := s.lab.Nodes[0], s.lab.Nodes[1]
	must(s.T, s.attach(one, "web-0", nil))
	must(s.T, s.attach(one, "web-1", map[string]string{"flock.fritzlab.net/addresses": "2001:db8:e::80"}))
	must(s.T, s.attach(one, "resolver-0", anycast))
	must(s.T, s.attach(two, "resolver-1", anycast))
	s.until("65001 2/2 2/2^64 3/253", "$ kubectl get nodeconfigs")
	s.until("65002 2/2 1/2^64 1/253", "$ kubectl get nodeconfigs")
	s.until("Prefixes Exported: 3", "$ kubectl describe nodeconfig node1")
}

// refuse has a pod that cannot have what it asks for, and one that is not ready.
func (s *site) refuse() {
	s.Helper()
	if err := s.attach(s.lab.Nodes[0], "bad", map[string]string{"flock.fritzlab.net/cidr4": "10.0.0.0/24"}); err == nil {
		s.Error("a CIDR outside every pool is no error")
	}
	s.until("BadAnnotation", "$ kubectl get events")
	s.SetReady(s.T, s.Pod(s.T, "default", "resolver-0"), false)
	s.until("Announced: false", "$ kubectl describe nodeconfig node1")
}

// suffer has a node with a full pool and without a session for it.
func (s *site) suffer() {
	s.Helper()
	two := s.lab.Nodes[1]
	s.configure(two, "10.244.2.0/31", "172.31.9.9")
	s.until("1/2 1/2^64 0/2", "$ kubectl get nodeconfigs")
	must(s.T, s.attach(two, "late-0", nil))
	must(s.T, s.attach(two, "late-1", nil))
	if err := s.attach(two, "late-2", nil); err == nil {
		s.Error("a full pool is no error")
	}
	s.until("PoolExhausted", "$ kubectl get events")
	s.until("1/2 3/2^64 2/2", "$ kubectl get nodeconfigs")
	s.until("PoolsExhausted", "$ kubectl describe nodeconfig node2")
}
