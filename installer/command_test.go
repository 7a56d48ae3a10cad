// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// command runs the command line and returns what it printed to stdout.
func (n node) command(args ...string) (string, error) {
	cmd := Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func (n node) flags() []string {
	c := n.config()
	return []string{
		"--from", c.From, "--bin-dir", c.BinDir, "--conf-dir", c.ConfDir,
		"--rt-protos-dir", c.ProtosDir, "--rt-tables-dir", c.TablesDir, "--record", c.Record,
	}
}

// options are flags of the conflist, all of them.
var options = []string{
	"--stages", "flock-ipam,flock-veth,flock-route,flock-bird", "--state-dir", "/run/other",
	"--pool", "fd00:1::/64,10.1.0.0/24", "--pool", "fd00:2::/64", "--node-file", "/n.json", "--socket", "/s.sock",
	"--cool-down", "5m", "--ip-algo", "namespace,pod", "--mtu", "1400", "--metric", "32", "--table", "99",
	"--anycast", "immediate", "--add", `{"type":"portmap","capabilities":{"portMappings":true}}`,
}

func TestRenderPrintsWhatInstallWrites(t *testing.T) {
	n := newNode(t)
	n.write(n.path("bin", "portmap"), "portmap")
	n.must(os.Chmod(n.path("bin", "portmap"), 0o755))
	rendered, err := n.command(append([]string{"render"}, options...)...)
	n.must(err)
	_, err = n.command(append(append([]string{"install"}, n.flags()...), options...)...)
	n.must(err)
	written, err := os.ReadFile(n.path("net.d", "01-flock.conflist"))
	n.must(err)
	if diff := cmp.Diff(rendered, string(written)); diff != "" {
		t.Errorf("conflist (-rendered +written):\n%s", diff)
	}
	if got := strings.Count(rendered, `"nodeFile": "/n.json"`); got != 2 {
		t.Errorf("%d of two stages read the node file:\n%s", got, rendered)
	}
	for _, word := range []string{
		`"/run/other"`, `"fd00:1::/64"`, `"10.1.0.0/24"`, `"fd00:2::/64"`, `"/n.json"`, `"/s.sock"`, `"5m"`,
		`"namespace"`, `1400`, `"metric": 32`, `"table": 99`, `"immediate"`, `"portMappings"`,
	} {
		if !strings.Contains(rendered, word) {
			t.Errorf("conflist has no %s:\n%s", word, rendered)
		}
	}
	tables, err := os.ReadFile(n.path("iproute2", "rt_tables.d", "flock.conf"))
	n.must(err)
	if !strings.Contains(string(tables), "99\tflock\n") {
		t.Errorf("names of tables: %q, want that of table 99", tables)
	}
}

func TestCommands(t *testing.T) {
	n := newNode(t)
	for _, use := range []string{"install", "install", "check"} {
		_, err := n.command(append([]string{use}, n.flags()...)...)
		n.must(err)
	}
	n.release("v2")
	if _, err := n.command(append([]string{"check"}, n.flags()...)...); err == nil {
		t.Error("check after a new release finds no difference")
	}
	_, err := n.command("uninstall", "--record", n.config().Record)
	n.must(err)
	n.wantTree("")
}

func TestCommandErrors(t *testing.T) {
	n := newNode(t)
	tests := map[string][]string{
		"unknown command":      {"deinstall"},
		"unknown flag: --mut":  {"render", "--mut", "1400"},
		`pool "fd00::1"`:       {"render", "--pool", "fd00::1"},
		"overlaps":             {"render", "--pool", "fd00::/64,fd00::/80"},
		"mtu 100":              {"render", "--mtu", "100"},
		`anycast "never"`:      {"render", "--anycast", "never"},
		`stage "flock-bridge"`: {"render", "--stages", "flock-bridge"},
		`plugin "nosuch"`:      {"render", "--add", "nosuch"},
		"unknown argument":     {"render", "now"},
	}
	for want, args := range tests {
		_, err := n.command(args...)
		if want == "unknown argument" {
			want = `unknown command "now"`
		}
		n.wantError(err, want)
	}
}
