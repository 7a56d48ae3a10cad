// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/conflist"
)

// node is the part of a node that an installer works on, below one folder.
type node struct {
	*testing.T
	root string
}

// newNode returns a node with the runtime's folders, and plugins of version v1 to install.
func newNode(t *testing.T) node {
	t.Helper()
	n := node{t, t.TempDir()}
	for _, dir := range []string{"bin", "net.d", "from"} {
		n.must(os.Mkdir(n.path(dir), 0o755))
	}
	n.release("v1")
	return n
}

func (n node) path(elem ...string) string {
	return filepath.Join(append([]string{n.root}, elem...)...)
}

func (n node) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

// release fills the installer's source with plugins of a version.
func (n node) release(version string) {
	n.Helper()
	for _, stage := range conflist.Stages {
		n.write(n.path("from", stage), version+"\n")
	}
}

func (n node) write(path, content string) {
	n.Helper()
	n.must(os.WriteFile(path, []byte(content), 0o644))
}

func (n node) config() Config {
	return Config{
		From:      n.path("from"),
		BinDir:    n.path("bin"),
		ConfDir:   n.path("net.d"),
		ProtosDir: n.path("iproute2", "rt_protos.d"),
		TablesDir: n.path("iproute2", "rt_tables.d"),
		Record:    n.path("lib", "installed.json"),
	}
}

// run calls a method of an installer over the configuration and returns what it printed, the paths
// cut to those below the node.
func (n node) run(c Config, do func(*Installer) error) (string, error) {
	var out bytes.Buffer
	err := do(New(c, &out))
	return strings.ReplaceAll(out.String(), n.root+"/", ""), err
}

func (n node) install(c Config) string {
	n.Helper()
	out, err := n.run(c, (*Installer).Install)
	n.must(err)
	return out
}

// tree prints the node's files, a line each: mode, path and the first line, or where a link points. The
// source and the record are left out, and the folders.
func (n node) tree() string {
	n.Helper()
	var b strings.Builder
	n.must(filepath.WalkDir(n.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(n.root, path)
		if strings.HasPrefix(rel, "from/") || rel == "lib/installed.json" {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, _ := os.Readlink(path)
			fmt.Fprintf(&b, "link %s -> %s\n", rel, target)
			return nil
		}
		content, err := os.ReadFile(path)
		first, _, _ := strings.Cut(string(content), "\n")
		fmt.Fprintf(&b, "%04o %s %s\n", info.Mode(), rel, first)
		return err
	}))
	return b.String()
}

func (n node) wantTree(want string) {
	n.Helper()
	if diff := cmp.Diff(want, n.tree()); diff != "" {
		n.Errorf("files (-want +got):\n%s", diff)
	}
}

// installed is the tree after an installation of a version.
func installed(version string) string {
	return strings.ReplaceAll(`0755 bin/flock-bird VERSION
0755 bin/flock-ipam VERSION
0755 bin/flock-route VERSION
0755 bin/flock-veth VERSION
0644 iproute2/rt_protos.d/flock.conf # Written by flock-installer.
0644 iproute2/rt_tables.d/flock.conf # Written by flock-installer.
0644 net.d/01-flock.conflist {
`, "VERSION", version)
}

// wantError wants an error whose text has every one of the words.
func (n node) wantError(err error, words ...string) {
	n.Helper()
	if err == nil {
		n.Fatalf("no error, want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			n.Errorf("error %q does not say %q", err, word)
		}
	}
}

// mount mounts a tmpfs in a mount namespace that the test alone is in.
func (n node) mount(path, options string, flags uintptr) {
	n.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	n.must(unix.Unshare(unix.CLONE_NEWNS))
	n.must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	n.must(unix.Mount("tmpfs", path, "tmpfs", 0, options))
	n.Cleanup(func() { n.must(unix.Unmount(path, 0)) })
	if flags != 0 {
		n.must(unix.Mount("", path, "", unix.MS_REMOUNT|flags, ""))
	}
}
