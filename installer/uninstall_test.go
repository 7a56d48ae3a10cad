// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUninstall(t *testing.T) {
	n := newNode(t)
	n.write(n.path("net.d", "10-other.conflist"), "other")
	n.write(n.path("bin", "ptp"), "ptp")
	n.install(n.config())
	out, err := n.run(n.config(), (*Installer).Uninstall)
	n.must(err)
	want := `removed net.d/01-flock.conflist
removed iproute2/rt_tables.d/flock.conf
removed iproute2/rt_protos.d/flock.conf
removed bin/flock-bird
removed bin/flock-route
removed bin/flock-veth
removed bin/flock-ipam
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	n.wantTree("0644 bin/ptp ptp\n0644 net.d/10-other.conflist other\n")
	if _, err := os.Stat(n.config().Record); !os.IsNotExist(err) {
		t.Errorf("the record is left: %v", err)
	}
}

func TestUninstallNothing(t *testing.T) {
	n := newNode(t)
	n.write(n.path("bin", "flock-ipam"), "stranger")
	out, err := n.run(n.config(), (*Installer).Uninstall)
	n.must(err)
	if want := "nothing installed: no record lib/installed.json\n"; out != want {
		t.Errorf("output %q, want %q", out, want)
	}
	n.install(forced(n.config()))
	for range 2 {
		_, err := n.run(n.config(), (*Installer).Uninstall)
		n.must(err)
	}
	n.wantTree("")
}

func forced(c Config) Config {
	c.Force = true
	return c
}

// A file that was edited or replaced since is named; then nothing at all is removed.
func TestUninstallRefusesEditedFiles(t *testing.T) {
	tests := []struct {
		name, names string
		edit        func(node)
	}{
		{"edited", "net.d/01-flock.conflist (a file)", func(n node) { n.write(n.path("net.d", "01-flock.conflist"), "edited") }},
		{"linked", "bin/flock-ipam (a symbolic link)", func(n node) {
			n.must(os.Remove(n.path("bin", "flock-ipam")))
			n.must(os.Symlink("/bin/true", n.path("bin", "flock-ipam")))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			n.install(n.config())
			tt.edit(n)
			before := n.tree()
			_, err := n.run(n.config(), (*Installer).Uninstall)
			n.wantError(err, tt.names, "--force")
			n.wantTree(before)
			_, err = n.run(forced(n.config()), (*Installer).Uninstall)
			n.must(err)
			n.wantTree("")
		})
	}
}

func TestUninstallRemovesWhatAnEarlierInstallationLeft(t *testing.T) {
	n := newNode(t)
	n.install(n.config())
	c := n.config()
	n.must(os.Mkdir(n.path("bin2"), 0o755))
	c.BinDir = n.path("bin2")
	n.install(c)
	_, err := n.run(n.config(), (*Installer).Uninstall)
	n.must(err)
	n.wantTree("")
}

func TestUninstallToleratesAbsentFiles(t *testing.T) {
	n := newNode(t)
	n.install(n.config())
	n.must(os.RemoveAll(n.path("bin")))
	_, err := n.run(n.config(), (*Installer).Uninstall)
	n.must(err)
	n.wantTree("")
}
