// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newLab builds a lab that is closed with the test.
func newLab(t *testing.T, nodes int) *Lab {
	t.Helper()
	l, err := New(Options{Name: UniqueName("flt-lab"), Nodes: nodes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// startPlainBird runs BIRD on a node with a configuration that owes nothing to flock: it announces the
// node's pools, and one address that both nodes have.
func startPlainBird(t *testing.T, n *Node) *Bird {
	t.Helper()
	conf := fmt.Sprintf(`router id %[1]s;
protocol device {}
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol static { ipv6; route %[3]s blackhole; route 2001:db8:a::53/128 blackhole; }
protocol static { ipv4; route %[4]s blackhole; }
protocol bgp tor6 { local %[2]s as %[5]d; neighbor %[6]s as 65000; connect delay time 1; ipv6 { import all; export all; }; }
protocol bgp tor4 { local %[1]s as %[5]d; neighbor %[7]s as 65000; connect delay time 1; ipv4 { import all; export all; }; }
`, n.Address4, n.Address6, n.Pool6, n.Pool4, n.ASN, n.Router6, n.Router4)
	file := filepath.Join(n.Dir, "bird.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	bird, err := n.StartBird(t.Context(), file, filepath.Join(n.Dir, "bird.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	return bird
}

func TestRouterSpreadsOverNodes(t *testing.T) {
	l := newLab(t, 2)
	ctx := t.Context()
	if err := l.Router.start(ctx, l.Nodes); err != nil {
		t.Fatal(err)
	}
	first := startPlainBird(t, l.Nodes[0])
	startPlainBird(t, l.Nodes[1])
	if err := l.Router.Bird.AwaitEstablished(ctx, 4); err != nil {
		t.Fatal(err)
	}
	shared := netip.MustParseAddr("2001:db8:a::53")
	if err := l.Router.AwaitHops(ctx, 5*time.Second, shared, l.Nodes...); err != nil {
		t.Error(err)
	}
	if err := first.End(ctx, os.Kill); err != nil {
		t.Fatal(err)
	}
	if err := l.Router.AwaitHops(ctx, 5*time.Second, shared, l.Nodes[1]); err != nil {
		t.Error(err)
	}
	if err := l.Router.AwaitHops(ctx, 5*time.Second, netip.MustParseAddr("2001:db8:a::54")); err != nil {
		t.Error(err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	l := newLab(t, 1)
	if err := l.Router.start(t.Context(), l.Nodes); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Nodes[0].NewPod("web1", nil); err != nil {
		t.Fatal(err)
	}
	pid := l.Router.Bird.PID()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := Namespaces(l.prefix); err != nil || len(left) > 0 {
		t.Errorf("namespaces %v are left (%v)", left, err)
	}
	if _, err := os.Stat(l.Dir); err == nil {
		t.Errorf("%s is left", l.Dir)
	}
	if words, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && bytes.Contains(words, []byte(l.Dir)) { // it may be another's pid by now
		t.Errorf("the process %q is left", words)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestSweep(t *testing.T) {
	kind := UniqueName("flt-sweep") // another run of this test may be at work
	// No process has a number above the kernel's limit.
	dead := kind + "-4194305-1-tor"
	mine := UniqueName(kind) + "-tor"
	for _, name := range []string{dead, mine} {
		n, err := NewNetns(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Delete() })
	}
	folder := filepath.Join(os.TempDir(), kind+"-4194305-1-files")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	swept, err := Sweep(kind)
	if diff := cmp.Diff([]string{dead, folder}, swept); err != nil || diff != "" {
		t.Errorf("Sweep (-want +got): %v\n%s", err, diff)
	}
	if !(&Netns{Name: mine}).Exists() {
		t.Error("Sweep took a running process's namespace")
	}
}

func TestStateShowsWhatIsAdded(t *testing.T) {
	l := newLab(t, 1)
	ctx := t.Context()
	node := l.Nodes[0]
	before, err := node.Netns.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"ip", "link", "add", "stale0", "type", "veth", "peer", "name", "stale1"},
		{"ip", "-6", "route", "add", "blackhole", "2001:db8:f::/64", "table", "7273"},
		{"ip", "nexthop", "add", "id", "7", "blackhole"},
		{"ip", "neigh", "add", "fd00:1::7", "lladdr", "ee:ee:ee:ee:ee:ee", "nud", "permanent", "dev", Uplink},
		{"ip", "rule", "add", "from", "10.9.9.9", "lookup", "7273"},
	} {
		if _, err := node.Run(ctx, command[0], command[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	after, err := node.Netns.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := Difference(before, after); len(diff) != 6 {
		t.Errorf("Difference = %q, want two links, a route, a nexthop, a neighbour and a rule", diff)
	}
	if diff := Difference(after, after); len(diff) != 0 {
		t.Errorf("Difference of a state with itself = %q", diff)
	}
}

func TestEventuallyTellsWhatItWaitedFor(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := Eventually(ctx, "pigs fly", func() error { return os.ErrNotExist })
	if err == nil || !strings.HasPrefix(err.Error(), "wait until pigs fly: ") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Eventually = %v", err)
	}
}
