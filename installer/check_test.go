// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(node, *Config)
		want  string
	}{
		{"absent", func(n node, _ *Config) { n.must(os.Remove(n.path("bin", "flock-veth"))) }, "bin/flock-veth: absent\n"},
		{"old plugin", func(n node, _ *Config) { n.write(n.path("bin", "flock-veth"), "v0\n") },
			"bin/flock-veth: line 1 is \"v0\", want \"v1\"\n"},
		{"binary", func(n node, _ *Config) { n.write(n.path("bin", "flock-veth"), "\xff") },
			"bin/flock-veth: differs: sha256 a8100ae6aa19, want 2d27fbdf4e8c\n"},
		{"another mtu", func(_ node, c *Config) { c.Conflist.Veth.MTU = 9000 },
			"net.d/01-flock.conflist: line 18 is \"\\\"type\\\": \\\"flock-veth\\\"\", want \"\\\"type\\\": \\\"flock-veth\\\",\"\n"},
		{"mode", func(n node, _ *Config) { n.must(os.Chmod(n.path("bin", "flock-veth"), 0o700)) }, "bin/flock-veth: mode 0700, want 0755\n"},
		{"link", func(n node, _ *Config) {
			n.must(os.Rename(n.path("bin", "flock-veth"), n.path("bin", "x")))
			n.must(os.Symlink("x", n.path("bin", "flock-veth")))
		}, "bin/flock-veth: a symbolic link, want a file\n"},
		{"several", func(n node, _ *Config) {
			n.must(os.Remove(n.path("bin", "flock-veth")))
			n.must(os.Remove(n.path("iproute2", "rt_tables.d", "flock.conf")))
		}, "bin/flock-veth: absent\niproute2/rt_tables.d/flock.conf: absent\n"},
		{"shadowed", func(n node, _ *Config) { n.write(n.path("net.d", "00-other.conf"), "{}") },
			"net.d/00-other.conf: comes before 01-flock.conflist, so the runtime takes it instead\n"},
		{"chained plugin", func(n node, c *Config) {
			c.Conflist.Chained = []string{"tuning"}
			n.write(n.path("bin", "tuning"), "tuning")
			n.must(os.Chmod(n.path("bin", "tuning"), 0o755))
			n.install(*c)
			n.must(os.Remove(n.path("bin", "tuning")))
		}, "chain plugin tuning: bin/tuning is no executable; install it first (containernetworking/plugins)\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			c := n.config()
			n.install(c)
			if out, err := n.run(c, (*Installer).Check); err != nil || out != "installed as wanted: 7 files\n" {
				t.Fatalf("check after install = %q, %v", out, err)
			}
			tt.spoil(n, &c)
			before := n.tree()
			out, err := n.run(c, (*Installer).Check)
			n.wantError(err, "difference")
			if diff := cmp.Diff(tt.want, out); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			n.wantTree(before)
		})
	}
}
