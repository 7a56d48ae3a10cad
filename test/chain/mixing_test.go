// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// mix is one example of docs/mixing.md.
type mix struct {
	conflist string
	// node and router are the scripts that the page has for them, if any.
	node, router string
	// lasting tells that the main plugin leaves its bridge.
	lasting bool
	// announced tells that flock-route and flock-bird follow.
	announced bool
}

func TestMixing(t *testing.T) {
	page := blocks(t)
	tests := []mix{
		{conflist: "ptp.conflist"},
		{conflist: "bridge-gateway.conflist", lasting: true},
		{conflist: "bridge-onlink.conflist", node: "bridge-onlink-node.sh"},
		{conflist: "macvlan.conflist", node: "macvlan-node.sh", router: "macvlan-router.sh"},
		{conflist: "flock-veth.conflist"},
		{conflist: "flock-veth-host-local.conflist"},
		{conflist: "ptp-route.conflist", announced: true},
	}
	for _, tt := range tests {
		t.Run(tt.conflist, func(t *testing.T) {
			t.Parallel()
			node, runtime := tt.start(t, page)
			if tt.lasting {
				warm := newPod(t, node, "warm", nil)
				check(t, runtime.Add(t.Context(), warm))
				check(t, runtime.Del(t.Context(), warm))
			}
			settle(t, node)
			before := state(t, node)
			tt.attachAndPing(t, node, runtime)
			wantUnchanged(t, node, before)
		})
	}
}

// start builds a node with the page's configuration. The router knows the way to the example's pools.
func (m mix) start(t *testing.T, page map[string]string) (*lab.Node, *lab.Runtime) {
	t.Helper()
	l := newLab(t, lab.Options{Nodes: 1})
	node := l.Nodes[0]
	for _, route := range []string{"route add default via fd00:1::1", "route add default via 10.0.1.1"} {
		_, err := node.Run(t.Context(), "ip", strings.Fields(route)...)
		check(t, err)
	}
	script(t, node.Netns, page[m.node])
	if m.router != "" {
		script(t, l.Router.Netns, strings.ReplaceAll(page[m.router], "lan0", node.Name))
	} else {
		script(t, l.Router.Netns, "ip route add 2001:db8:7::/64 via fd00:1::2\nip route add 10.7.0.0/24 via 10.0.1.2\n")
	}
	conflist, ok := page[m.conflist]
	if !ok {
		t.Fatalf("docs/mixing.md has no block %s", m.conflist)
	}
	runtime, err := lab.NewRuntime(node.Netns, withFolders(t, conflist, node.StateDir()),
		[]string{flockBin, referenceBin}, filepath.Join(node.Dir, "cache"))
	check(t, err)
	return node, runtime
}

// settle waits until the kernel has found no duplicate of the node's own addresses.
func settle(t *testing.T, n *lab.Node) {
	t.Helper()
	check(t, lab.Within(t.Context(), within, n.Name+" has its addresses", func() error {
		tentative, err := n.Run(t.Context(), "ip", "-6", "address", "show", "tentative")
		if err == nil && tentative != "" {
			err = errors.New(tentative)
		}
		return err
	}))
}

// script runs shell commands in the namespace and stops at the first that fails.
func script(t *testing.T, n *lab.Netns, commands string) {
	t.Helper()
	_, err := n.Run(t.Context(), "sh", "-e", "-c", commands)
	check(t, err)
}

// attachAndPing lets two pods reach each other, the node and the router, and detaches them.
func (m mix) attachAndPing(t *testing.T, node *lab.Node, runtime *lab.Runtime) {
	t.Helper()
	web1, web2 := newPod(t, node, "web1", nil), newPod(t, node, "web2", nil)
	for _, p := range []*lab.Pod{web1, web2} {
		check(t, runtime.Add(t.Context(), p))
		check(t, runtime.Check(t.Context(), p))
		for _, a := range p.Addresses() {
			if !inExamplePool(a) {
				t.Errorf("%s has %s, which is in no pool of the example", p.Pod.Name, a)
			}
		}
	}
	for _, from := range []*lab.Netns{node.Netns, node.Lab().Router.Netns, web1.Netns, web2.Netns} {
		wantReaches(t, from, web1.Addresses()...)
		wantReaches(t, from, web2.Addresses()...)
	}
	wantReaches(t, web1.Netns, node.Address6, node.Address4, node.Router6, node.Router4)
	if m.announced {
		wantAnnounced(t, node, web1)
	}
	for _, p := range []*lab.Pod{web2, web1} {
		check(t, runtime.Del(t.Context(), p))
		check(t, runtime.Del(t.Context(), p))
		check(t, p.Delete())
	}
}

// wantAnnounced looks for each of the pod's addresses among flock's routes of both tables.
func wantAnnounced(t *testing.T, n *lab.Node, p *lab.Pod) {
	t.Helper()
	for _, table := range [][]string{{"proto", "72"}, {"proto", "73", "table", "7273"}} {
		routes, err := n.Routes(t.Context(), table...)
		check(t, err)
		for _, a := range p.Addresses() {
			if !strings.Contains(routes, a.String()+" dev ") {
				t.Errorf("no route to %s among those of %v:\n%s", a, table, routes)
			}
		}
	}
}

// TestMixingAnnotations sends annotations through a main plugin of somebody else.
func TestMixingAnnotations(t *testing.T) {
	t.Parallel()
	node, runtime := mix{conflist: "bridge-onlink.conflist", node: "bridge-onlink-node.sh"}.start(t, blocks(t))
	pod := newPod(t, node, "fixed", map[string]string{prefix + "addresses": "2001:db8:7::80", prefix + "cidr4": "10.7.0.128/25"})
	check(t, runtime.Add(t.Context(), pod))
	wantAddresses(t, pod, []string{"2001:db8:7::80", "10.7.0.128/25"})
	wantReaches(t, node.Netns, pod.Addresses()...)

	refused := newPod(t, node, "shared", anycast)
	if err := runtime.Add(t.Context(), refused); lab.Code(err) != cni.CodeBadAnnotation {
		t.Errorf("ADD with an anycast annotation = %v, want code %d", err, cni.CodeBadAnnotation)
	}
	check(t, runtime.Del(t.Context(), refused))
}

// examplePools are those of every example on the page.
var examplePools = []netip.Prefix{netip.MustParsePrefix("2001:db8:7::/64"), netip.MustParsePrefix("10.7.0.0/24")}

func inExamplePool(a netip.Addr) bool {
	return slices.ContainsFunc(examplePools, func(p netip.Prefix) bool { return p.Contains(a) })
}

// wantReaches pings the addresses. A reference plugin's host side may still be looking for duplicates of
// its own address when ADD returns.
func wantReaches(t *testing.T, from *lab.Netns, to ...netip.Addr) {
	t.Helper()
	for _, a := range to {
		check(t, lab.Within(t.Context(), within, a.String()+" answers", func() error {
			_, err := from.Ping(t.Context(), a, lab.PingOptions{Timeout: 200 * time.Millisecond})
			return err
		}))
	}
}

// TestCnitool runs the page's script word for word: in a folder with bin and try, as root, with /run and
// /var/lib of its own so that nothing of this machine is touched.
func TestCnitool(t *testing.T) {
	page := blocks(t)
	dir := t.TempDir()
	check(t, os.Symlink(flockBin, filepath.Join(dir, "bin")))
	check(t, os.Mkdir(filepath.Join(dir, "try"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "try", "10-try.conflist"), []byte(page["cnitool.conflist"]), 0o644))
	host := newLab(t, lab.Options{Nodes: 1}).Nodes[0]
	setup := "cd " + dir + "\nPATH=" + referenceBin + ":$PATH\n" +
		"mount -t tmpfs tmpfs /run\nmount -t tmpfs tmpfs /var/lib\n"
	out, err := host.Run(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", setup+page["cnitool.sh"])
	check(t, err)
	for _, want := range []string{`"address": "2001:db8:7:`, `"address": "10.7.0.2/32"`, `"gateway": "fe80::1"`} {
		if !strings.Contains(out, want) {
			t.Errorf("cnitool printed no %s:\n%s", want, out)
		}
	}
}
