// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestInstall(t *testing.T) {
	n := newNode(t)
	out := n.install(n.config())
	n.wantTree(installed("v1"))
	want := `wrote bin/flock-ipam
wrote bin/flock-veth
wrote bin/flock-route
wrote bin/flock-bird
wrote iproute2/rt_protos.d/flock.conf
wrote iproute2/rt_tables.d/flock.conf
wrote net.d/01-flock.conflist
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	list, err := libcni.LoadNetworkConf(n.path("net.d"), "flock")
	n.must(err)
	if len(list.Plugins) != 4 || list.CNIVersion != "1.1.0" {
		t.Errorf("libcni reads %d plugins of version %s, want 4 of 1.1.0", len(list.Plugins), list.CNIVersion)
	}
}

func TestInstallTwice(t *testing.T) {
	n := newNode(t)
	n.install(n.config())
	before := n.inodes()
	for line := range strings.Lines(n.install(n.config())) {
		if !strings.HasPrefix(line, "unchanged ") {
			t.Errorf("second installation says %q", line)
		}
	}
	if diff := cmp.Diff(before, n.inodes()); diff != "" {
		t.Errorf("inodes (-before +after):\n%s", diff)
	}
}

func (n node) inodes() map[string]uint64 {
	inodes := map[string]uint64{}
	for _, glob := range []string{"bin/*", "net.d/*", "iproute2/*/*", "lib/*"} {
		paths, err := filepath.Glob(n.path(glob))
		n.must(err)
		for _, path := range paths {
			var st unix.Stat_t
			n.must(unix.Stat(path, &st))
			inodes[path] = st.Ino
		}
	}
	return inodes
}

func TestUpgradeReplacesOwnFiles(t *testing.T) {
	n := newNode(t)
	n.install(n.config())
	n.release("v2")
	c := n.config()
	c.Conflist.Veth.MTU = 1400
	out := n.install(c)
	n.wantTree(installed("v2"))
	if !strings.Contains(out, "unchanged iproute2/rt_protos.d/flock.conf\n") || !strings.Contains(out, "wrote net.d/01-flock.conflist\n") {
		t.Errorf("upgrade says:\n%s", out)
	}
	n.release("v1")
	n.install(n.config())
	n.wantTree(installed("v1"))
}

func TestInstallCorrectsMode(t *testing.T) {
	n := newNode(t)
	n.install(n.config())
	n.must(os.Chmod(n.path("bin", "flock-veth"), 0o600))
	if out := n.install(n.config()); !strings.Contains(out, "wrote bin/flock-veth\n") {
		t.Errorf("installation over a wrong mode says:\n%s", out)
	}
	n.wantTree(installed("v1"))
}

func TestInstallIgnoresUmask(t *testing.T) {
	n := newNode(t)
	defer unix.Umask(unix.Umask(0o077))
	n.install(n.config())
	n.wantTree(installed("v1"))
}

// A file that is not flock's, or not as flock wrote it, is named and stays; nothing else changes either.
func TestInstallRefusesForeignFiles(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(node)
		names string
	}{
		{"stranger's plugin", func(n node) { n.write(n.path("bin", "flock-ipam"), "stranger") }, "bin/flock-ipam (a file)"},
		{"stranger's conflist", func(n node) { n.write(n.path("net.d", "01-flock.conflist"), "{}") }, "net.d/01-flock.conflist (a file)"},
		{"link", func(n node) { n.must(os.Symlink("/bin/true", n.path("bin", "flock-veth"))) }, "bin/flock-veth (a symbolic link)"},
		{"dangling link", func(n node) { n.must(os.Symlink("/absent", n.path("bin", "flock-veth"))) }, "bin/flock-veth (a symbolic link)"},
		{"edited conflist", func(n node) {
			n.install(n.config())
			n.release("v2")
			n.write(n.path("net.d", "01-flock.conflist"), `{"name": "mine"}`)
		}, "net.d/01-flock.conflist (a file)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			tt.spoil(n)
			before := n.tree()
			_, err := n.run(n.config(), (*Installer).Install)
			n.wantError(err, tt.names, "--force")
			if !errors.Is(err, ErrNotOurs) {
				t.Errorf("error %v is no ErrNotOurs", err)
			}
			n.wantTree(before)
			c := n.config()
			c.Force = true
			n.install(c)
			if version, _ := os.ReadFile(n.path("from", "flock-ipam")); n.tree() != installed(strings.TrimSpace(string(version))) {
				t.Errorf("with force:\n%s", n.tree())
			}
		})
	}
}

func TestForceReplacesALinkNotItsTarget(t *testing.T) {
	n := newNode(t)
	n.write(n.path("precious"), "untouched")
	n.must(os.Symlink(n.path("precious"), n.path("bin", "flock-ipam")))
	c := n.config()
	c.Force = true
	n.install(c)
	n.wantTree(installed("v1") + "0644 precious untouched\n")
}

func TestForceLeavesFolders(t *testing.T) {
	n := newNode(t)
	n.must(os.Mkdir(n.path("bin", "flock-ipam"), 0o755))
	c := n.config()
	c.Force = true
	_, err := n.run(c, (*Installer).Install)
	n.wantError(err, "bin/flock-ipam", "folder")
	n.wantTree("")
}

// A runtime's folder that is a link to where the files really belong is used as it is.
func TestInstallThroughLinkedFolder(t *testing.T) {
	n := newNode(t)
	n.must(os.Rename(n.path("bin"), n.path("real")))
	n.must(os.Symlink("real", n.path("bin")))
	n.install(n.config())
	n.wantTree("link bin -> real\n" + strings.NewReplacer(
		"0755 bin/flock-bird v1\n0755 bin/flock-ipam v1\n0755 bin/flock-route v1\n0755 bin/flock-veth v1\n", "").Replace(installed("v1")) +
		"0755 real/flock-bird v1\n0755 real/flock-ipam v1\n0755 real/flock-route v1\n0755 real/flock-veth v1\n")
}

// Whatever is wrong with the target or the source, it is named and nothing is half made.
func TestInstallRefusesBadPlaces(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(node)
		words []string
	}{
		{"no folder for plugins", func(n node) { n.must(os.Remove(n.path("bin"))) }, []string{"/bin:", "no such file", "runtime"}},
		{"no folder for conflists", func(n node) { n.must(os.Remove(n.path("net.d"))) }, []string{"/net.d:", "no such file", "runtime"}},
		{"dangling folder", func(n node) {
			n.must(os.Remove(n.path("bin")))
			n.must(os.Symlink("absent", n.path("bin")))
		}, []string{"/bin:", "no such file"}},
		{"file for a folder", func(n node) {
			n.must(os.Remove(n.path("net.d")))
			n.write(n.path("net.d"), "")
		}, []string{"/net.d:", "not a directory"}},
		{"a plugin missing", func(n node) { n.must(os.Remove(n.path("from", "flock-bird"))) }, []string{"from/flock-bird", "no such file"}},
		{"an empty plugin", func(n node) { n.write(n.path("from", "flock-bird"), "") }, []string{"flock-bird", "empty"}},
		{"a read-only folder", func(n node) { n.mount(n.path("bin"), "", unix.MS_RDONLY) }, []string{"bin/flock-ipam", "read-only file system"}},
		{"a full folder", func(n node) { n.full("bin") }, []string{"bin/flock-", "no space left"}},
		{"a full folder for conflists", func(n node) { n.full("net.d") }, []string{"net.d/01-flock.conflist", "no space left"}},
		{"a full folder for the record", func(n node) {
			n.must(os.Mkdir(n.path("lib"), 0o755))
			n.full("lib")
		}, []string{"lib/installed.json", "no space left"}},
		{"a damaged record", func(n node) {
			n.must(os.Mkdir(n.path("lib"), 0o755))
			n.write(n.path("lib", "installed.json"), "{")
		}, []string{"lib/installed.json", "--force"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			tt.spoil(n)
			before := n.tree()
			_, err := n.run(n.config(), (*Installer).Install)
			n.wantError(err, tt.words...)
			n.wantTree(before)
		})
	}
}

// full makes a folder a file system with room for a page or two but not for what belongs there.
func (n node) full(dir string) {
	n.mount(n.path(dir), "size=8k", 0)
	n.write(n.path(dir, "ballast"), strings.Repeat("x", 4096))
	for _, stage := range []string{"flock-veth", "flock-bird"} {
		n.write(n.path("from", stage), strings.Repeat("y", 4097))
	}
	if dir != "bin" {
		n.write(n.path(dir, "more"), strings.Repeat("x", 4096))
	}
}

// Overwriting a program that is being executed is refused by the kernel; replacing it is not noticed.
func TestInstallWhileRuntimeExecutes(t *testing.T) {
	n := newNode(t)
	cat, err := os.ReadFile("/bin/cat")
	n.must(err)
	n.write(n.path("from", "flock-ipam"), string(cat))
	n.install(n.config())

	running := exec.Command(n.path("bin", "flock-ipam"))
	stdin, err := running.StdinPipe()
	n.must(err)
	n.must(running.Start())
	if _, err := os.OpenFile(n.path("bin", "flock-ipam"), os.O_WRONLY, 0); !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("open an executing program for writing = %v, want ETXTBSY: the test proves nothing", err)
	}
	n.release("v2")
	n.install(n.config())
	n.wantTree(installed("v2"))
	n.must(stdin.Close())
	n.must(running.Wait())
}

func TestInstallWantsChainedPlugins(t *testing.T) {
	n := newNode(t)
	c := n.config()
	c.Conflist.Chained = []string{"portmap"}
	_, err := n.run(c, (*Installer).Install)
	n.wantError(err, "portmap", n.path("bin", "portmap"))
	n.wantTree("")

	n.write(n.path("bin", "portmap"), "portmap")
	n.must(os.Chmod(n.path("bin", "portmap"), 0o755))
	n.install(c)
	list, err := libcni.LoadNetworkConf(n.path("net.d"), "flock")
	n.must(err)
	if got := list.Plugins[len(list.Plugins)-1].Network.Type; got != "portmap" {
		t.Errorf("last plugin is %s, want portmap", got)
	}
}

func TestInstallWithoutNames(t *testing.T) {
	n := newNode(t)
	c := n.config()
	c.ProtosDir, c.TablesDir = "", ""
	n.install(c)
	if strings.Contains(n.tree(), "iproute2") {
		t.Errorf("names were installed:\n%s", n.tree())
	}
}

// iproute2 itself reads the names.
func TestNamesAreReadByIproute2(t *testing.T) {
	n := newNode(t)
	n.mount("/etc/iproute2", "", 0)
	n.must(unix.Unshare(unix.CLONE_NEWNET))
	c := n.config()
	c.ProtosDir, c.TablesDir = "/etc/iproute2/rt_protos.d", "/etc/iproute2/rt_tables.d"
	n.install(c)
	script := `ip link set lo up
ip route add blackhole 192.0.2.0/24 proto flock metric 16
ip route add blackhole 192.0.2.0/24 table flock proto flock-announce
ip route show
ip route show table 7273`
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	want := "blackhole 192.0.2.0/24 proto flock metric 16 \nblackhole 192.0.2.0/24 proto flock-announce \n"
	if diff := cmp.Diff(want, string(out)); diff != "" || err != nil {
		t.Errorf("ip: %v, routes (-want +got):\n%s", err, diff)
	}
}
