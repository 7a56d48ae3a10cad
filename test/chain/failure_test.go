// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/conflist"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

func TestAddIsIdempotent(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	pod := attach(t, node, "web", anycast)
	result, before := pod.Result, state(t, node)
	check(t, node.Runtime.Add(t.Context(), pod))
	if diff := cmp.Diff(result, pod.Result); diff != "" {
		t.Errorf("the second ADD returned something else (-first +second):\n%s", diff)
	}
	wantUnchanged(t, node, before)
	wantPings(t, []*lab.Netns{node.Netns}, pod)
}

// interfere puts a script in the place of a stage's program. In it $REAL is the program.
func interfere(t *testing.T, n *lab.Node, stage, script string) {
	t.Helper()
	path := filepath.Join(n.BinDir(), stage)
	check(t, os.Remove(path))
	text := fmt.Sprintf("#!/bin/sh\nREAL=%s\n%s\n", filepath.Join(flockBin, stage), script)
	check(t, os.WriteFile(path, []byte(text), 0o755))
}

// restore undoes interfere.
func restore(t *testing.T, n *lab.Node, stage string) {
	t.Helper()
	path := filepath.Join(n.BinDir(), stage)
	check(t, os.Remove(path))
	check(t, os.Symlink(filepath.Join(flockBin, stage), path))
}

// TestFailedAddLeavesNothing lets each stage fail before and after it has done its work.
func TestFailedAddLeavesNothing(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	before := state(t, node)
	const refuse = `echo '{"cniVersion":"1.0.0","code":999,"msg":"broken"}'; exit 1`
	for _, stage := range conflist.Stages {
		for name, script := range map[string]string{
			"before": `[ "$CNI_COMMAND" != ADD ] || { cat >/dev/null; ` + refuse + `; }; exec $REAL`,
			"after":  `[ "$CNI_COMMAND" != ADD ] || { $REAL >/dev/null; ` + refuse + `; }; exec $REAL`,
		} {
			t.Run(stage+"/"+name, func(t *testing.T) {
				interfere(t, node, stage, script)
				defer restore(t, node, stage)
				pod := newPod(t, node, "web", anycast)
				if err := node.Runtime.Add(t.Context(), pod); lab.Code(err) != 999 {
					t.Fatalf("ADD = %v, want the broken stage's error", err)
				}
				detach(t, node, pod)
				check(t, pod.Delete())
				wantUnchanged(t, node, before)
			})
		}
	}
}

// TestKilledInAdd kills each stage at many points of its ADD. The next ADD for the attachment gives it
// what it needs, and DEL takes everything back.
func TestKilledInAdd(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	before := state(t, node)
	for _, stage := range conflist.Stages {
		for step := range 12 {
			after := time.Duration(1+step) * 500 * time.Microsecond
			t.Run(fmt.Sprintf("%s/%s", stage, after), func(t *testing.T) {
				pod := newPod(t, node, "web", anycast)
				interfere(t, node, stage, fmt.Sprintf(`[ "$CNI_COMMAND" != ADD ] || exec timeout -s KILL %f $REAL; exec $REAL`, after.Seconds()))
				err := node.Runtime.Add(t.Context(), pod)
				restore(t, node, stage)
				if step%2 == 0 {
					t.Logf("the first ADD: %v", err)
					check(t, node.Runtime.Add(t.Context(), pod))
					wantPings(t, []*lab.Netns{node.Netns}, pod)
				}
				detach(t, node, pod)
				check(t, pod.Delete())
				wantUnchanged(t, node, before)
			})
		}
	}
}

// TestGC forgets libcni's own records first, so that the stages have to find what is stale themselves.
func TestGC(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	kept := attach(t, node, "kept", anycast)
	before := state(t, node)
	gone := attach(t, node, "gone", fixed)
	dead := attach(t, node, "dead", anycast)
	check(t, dead.Delete())
	check(t, os.RemoveAll(node.CacheDir()))

	check(t, node.Runtime.GC(t.Context(), kept))
	wantUnchanged(t, node, before)
	wantPings(t, []*lab.Netns{node.Netns}, kept)
	detach(t, node, gone, kept)
}

// TestNothingReachableThatIsNotOwned keeps the pod's link from being deleted, by DEL and by GC: the
// announcement and the route have gone before it, not with it.
func TestNothingReachableThatIsNotOwned(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	before := state(t, node)
	tests := []struct {
		verb, script string
		run          func(*lab.Pod) error
	}{
		{"DEL", `[ "$CNI_COMMAND" != DEL ] || { echo '{"code":999,"msg":"broken"}'; exit 1; }; exec $REAL`,
			func(p *lab.Pod) error { return node.Runtime.Del(t.Context(), p) }},
		{"GC", `[ "$CNI_COMMAND" != GC ] || exit 0; exec $REAL`,
			func(*lab.Pod) error { return errors.Join(os.RemoveAll(node.CacheDir()), node.Runtime.GC(t.Context())) }},
	}
	for _, tt := range tests {
		t.Run(tt.verb, func(t *testing.T) {
			pod := attach(t, node, "web", anycast)
			interfere(t, node, "flock-veth", tt.script)
			err := tt.run(pod)
			if tt.verb == "DEL" && lab.Code(err) != 999 || tt.verb == "GC" && err != nil {
				t.Fatalf("%s = %v", tt.verb, err)
			}
			wantLinkAlone(t, node, pod, before)
			restore(t, node, "flock-veth")
			detach(t, node, pod)
			wantUnchanged(t, node, before)
			check(t, pod.Delete())
		})
	}
}

// wantLinkAlone wants that of the pod there is its link on the node, and no route to any of its addresses.
func wantLinkAlone(t *testing.T, n *lab.Node, p *lab.Pod, before []string) {
	t.Helper()
	left := lab.Difference(before, state(t, n))
	for _, line := range left {
		for _, a := range p.Addresses() {
			if strings.Contains(line, "route") && strings.Contains(line, a.String()+" ") {
				t.Errorf("a route is left: %s", line)
			}
		}
	}
	if link := rtnl.HostName(p.ContainerID, "eth0"); !strings.Contains(strings.Join(left, "\n"), link) {
		t.Errorf("link %s is gone", link)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	l := newRouted(t, lab.Options{Nodes: 1})
	node := l.Nodes[0]
	check(t, node.Runtime.Status(t.Context()))

	check(t, node.Bird.End(t.Context(), os.Kill))
	if err := node.Runtime.Status(t.Context()); lab.Code(err) != 51 {
		t.Errorf("STATUS without BIRD = %v, want code 51", err)
	}
	check(t, os.Remove(node.NodeFile()))
	if err := node.Runtime.Status(t.Context()); lab.Code(err) != 50 {
		t.Errorf("STATUS without pools = %v, want code 50", err)
	}
}

// TestReboot takes the pods' namespaces and the state away, as a reboot does. The runtime then deletes
// the sandboxes of before and makes new ones.
func TestReboot(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	before := state(t, node)
	var old []*lab.Pod
	for i := range 3 {
		old = append(old, attach(t, node, fmt.Sprintf("old%d", i), anycast))
	}
	for _, p := range old {
		check(t, p.Delete())
	}
	check(t, os.RemoveAll(node.StateDir()))
	detach(t, node, old...)
	wantUnchanged(t, node, before)
	pod := attach(t, node, "new", anycast)
	wantPings(t, []*lab.Netns{node.Netns}, pod)
	detach(t, node, pod)
	wantUnchanged(t, node, before)
}

// TestDamagedStore wants that no running pod's address is given out again, in a pool that has room for
// six more pods only.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	check(t, node.SetPools(netip.MustParsePrefix("2001:db8:1::/124"), netip.MustParsePrefix("10.244.1.0/28")))
	before := state(t, node)
	var pods []*lab.Pod
	for i := range 6 {
		pods = append(pods, attach(t, node, fmt.Sprintf("old%d", i), nil))
	}
	check(t, os.WriteFile(filepath.Join(node.StateDir(), "store.db"), []byte("not a store any more"), 0o600))
	for i := range 6 {
		pods = append(pods, attach(t, node, fmt.Sprintf("new%d", i), nil))
	}
	wantDistinct(t, pods)
	wantPings(t, []*lab.Netns{node.Netns}, pods...)
	if aside, err := filepath.Glob(filepath.Join(node.StateDir(), "store.db?*")); err != nil || len(aside) != 1 {
		t.Errorf("the damaged store is kept aside as %v (%v), want one file", aside, err)
	}
	detach(t, node, pods...)
	wantUnchanged(t, node, before)
}

// wantDistinct wants that no address is two pods'.
func wantDistinct(t *testing.T, pods []*lab.Pod) {
	t.Helper()
	owner := map[netip.Addr]string{}
	for _, p := range pods {
		for _, a := range p.Addresses() {
			if other, taken := owner[a]; taken {
				t.Errorf("%s belongs to %s and to %s", a, other, p.Pod.Name)
			}
			owner[a] = p.Pod.Name
		}
	}
}

// TestExhausted fills a pool, gets the error, and gets an address again once a pod has gone.
func TestExhausted(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{}, "--cool-down", "1h")
	check(t, node.SetPools(netip.MustParsePrefix("10.244.1.0/30")))
	pod := attach(t, node, "first", nil)
	next := newPod(t, node, "next", nil)
	if err := node.Runtime.Add(t.Context(), next); lab.Code(err) != cni.CodePoolExhausted {
		t.Fatalf("ADD = %v, want code %d", err, cni.CodePoolExhausted)
	}
	if err := node.Runtime.Status(t.Context()); lab.Code(err) != 50 {
		t.Errorf("STATUS = %v, want code 50", err)
	}
	detach(t, node, next, pod)
	check(t, node.Runtime.Add(t.Context(), next))
}
