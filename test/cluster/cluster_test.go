// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"flock.fritzlab.net/flock/test/lab"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCluster(t *testing.T) *Cluster {
	t.Helper()
	name := fmt.Sprintf("flt-cluster-%d", os.Getpid())
	c, err := New(Options{Name: name, Dir: filepath.Join(t.TempDir(), "cluster"), Nodes: 2})
	must(t, err)
	return c
}

func TestFolderThatNodesDoNotSee(t *testing.T) {
	for dir, want := range map[string]string{
		"/var/lib/flock": "/var/lib", "/run": "/run", "/etc/../opt/x": "/opt", "/var/tmp/x": "", "/runs": "",
	} {
		_, err := New(Options{Name: "x", Dir: dir})
		if got := err != nil; got != (want != "") || got && !strings.Contains(err.Error(), want) {
			t.Errorf("New in %s: %v, want an error about %q", dir, err, want)
		}
	}
}

func TestAddressesAreDistinct(t *testing.T) {
	c := newCluster(t)
	all := netip.MustParsePrefix("2001:db8:244::/48")
	var seen []netip.Prefix
	for _, n := range c.Nodes {
		for _, p := range append(n.ptpPools(), n.Pool6, n.Pool4) {
			if slices.ContainsFunc(seen, p.Overlaps) {
				t.Errorf("%s of %s is not its alone", p, n.Name)
			}
			if p.Addr().Is6() && !all.Overlaps(p) {
				t.Errorf("%s of %s is outside of what kube-proxy takes for pods", p, n.Name)
			}
			seen = append(seen, p)
		}
	}
}

func TestOwns(t *testing.T) {
	c := &Cluster{Name: "flock"}
	for name, want := range map[string]bool{
		"flock-router": true, "flock-control": true, "flock-node1": true, "flock-node12": true,
		"flock": false, "flock-e2e-node1": false, "flock-node": false, "xflock-node1": false, "flock-node1-x": false,
	} {
		if got := c.owns(name); got != want {
			t.Errorf("owns(%q) = %t", name, got)
		}
	}
}

// TestCgroup puts a process into a group as a daemon is, and with a child group as the kubelet makes them.
func TestCgroup(t *testing.T) {
	g := cgroup(fmt.Sprintf("flt-cluster-%d-cgroup", os.Getpid()))
	must(t, g.make())
	t.Cleanup(func() { g.remove(context.Background()) })
	h := &host{Netns: &lab.Netns{Name: "here"}, Dir: t.TempDir(), group: g, enter: func(fn func() error) error { return fn() }}
	must(t, h.start("sleep", "sleep", "infinity"))
	must(t, os.Mkdir(filepath.Join(g.tracking(), "pod"), 0o755))
	pid, err := h.PID("sleep")
	must(t, err)
	must(t, h.await(t.Context(), "sleep", func() error {
		pids, err := g.pids()
		if err == nil && !slices.Equal(pids, []int{pid}) {
			err = fmt.Errorf("the group has %v", pids)
		}
		return err
	}))
	must(t, g.kill(t.Context()))
	must(t, g.remove(t.Context()))
	if g.exists() {
		t.Error("the group is there after remove")
	}
	must(t, g.remove(t.Context()))
}

func TestAwaitTellsWhyADaemonEnded(t *testing.T) {
	g := cgroup(fmt.Sprintf("flt-cluster-%d-await", os.Getpid()))
	must(t, g.make())
	t.Cleanup(func() { g.remove(context.Background()) })
	h := &host{Netns: &lab.Netns{Name: "here"}, Dir: t.TempDir(), group: g, enter: func(fn func() error) error { return fn() }}
	must(t, h.start("broken", "sh", "-c", "echo out of order"))
	err := h.await(t.Context(), "broken", func() error { return errors.New("no answer") })
	if err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("await = %v, want the daemon's last words", err)
	}
}

// TestLeft builds what a cluster is made of, without the programs, and takes it down.
func TestLeft(t *testing.T) {
	c := newCluster(t)
	t.Cleanup(func() { c.Down(context.Background()) })
	must(t, os.MkdirAll(c.Dir, 0o755))
	must(t, c.startRouter(t.Context()))
	n := c.Nodes[0]
	must(t, n.plug(n.Number, c.Router.Netns))
	must(t, os.WriteFile(n.file("mark"), nil, 0o600))
	must(t, n.furnish())
	name, err := n.Run(t.Context(), "hostname")
	if must(t, err); name != "node1\n" {
		t.Errorf("the node calls itself %q", name)
	}
	for command, want := range map[string]string{
		"ls /run":                    "lock\nnetns\n",
		"ls /sys/class/net":          "eth0\nlo\n",
		"cat /proc/sys/kernel/panic": "10\n",
		"ls /opt":                    "",
	} {
		args := strings.Fields(command)
		if got, err := n.Run(t.Context(), args[0], args[1:]...); got != want || err != nil {
			t.Errorf("%s prints %q, %v, want %q", command, got, err, want)
		}
	}
	left, err := c.Left()
	must(t, err)
	for _, want := range []string{"cgroup " + c.Name + "-node1", "process ", "network namespace " + c.Name + "-router", "folder " + c.Dir} {
		if !strings.Contains(strings.Join(left, "\n"), want) {
			t.Errorf("a cluster that is up has %q, want %q", left, want)
		}
	}
	must(t, c.Down(t.Context()))
	must(t, c.Down(t.Context()))
	if left, err := c.Left(); len(left) > 0 || err != nil {
		t.Errorf("Down leaves %q, %v", left, err)
	}
}

// TestTagsAreText because a hash may look like a number to YAML.
func TestTagsAreText(t *testing.T) {
	c := newCluster(t)
	for _, tag := range []string{"0a1b2c3d4e5f", "123456789012", "012345670123", "1234567890e1"} {
		must(t, c.writeKustomization(Release{Base: "../../deploy/base"}, tag))
		content, err := os.ReadFile(filepath.Join(c.kustomization(), "kustomization.yaml"))
		must(t, err)
		var got struct{ Images []struct{ NewTag string } }
		if err := yaml.Unmarshal(content, &got); err != nil {
			t.Errorf("tag %s: %v", tag, err)
		}
		for _, image := range got.Images {
			if image.NewTag != tag {
				t.Errorf("tag %s reads as %s", tag, image.NewTag)
			}
		}
	}
}

// TestTestpodNeedsNoLibrary because its image has none.
func TestTestpodNeedsNoLibrary(t *testing.T) {
	archives, err := buildImages(t.Context(), "../..", t.TempDir())
	must(t, err)
	if len(archives) != 2 {
		t.Errorf("images %q, want two", archives)
	}
	if out, err := exec.Command("ldd", filepath.Join(filepath.Dir(archives[0]), "testpod")).CombinedOutput(); err == nil {
		t.Errorf("testpod needs\n%s", out)
	}
}
