// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// node is a host on which flock-route runs.
type node struct {
	*hosttest.Host
	binary, stateDir string
	conf             map[string]any
}

func newNode(t *testing.T, links ...string) *node {
	n := &node{Host: hosttest.New(t, links...), binary: hosttest.Binary(t, stage), stateDir: t.TempDir()}
	n.conf = map[string]any{"stateDir": n.stateDir}
	return n
}

// add runs ADD for the container at the link, which has the addresses.
func (n *node) add(id, link string, addrs ...string) *types.Error {
	netns := n.Pods[link].Path()
	_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "ADD", ContainerID: id, Netns: netns, Conf: n.conf, Prev: hosttest.Result(link, netns, addrs...)})
	return err
}

// del runs DEL without a prevResult.
func (n *node) del(id string) *types.Error {
	_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "DEL", ContainerID: id, Conf: n.conf})
	return err
}

func (n *node) store() store.Store { return store.Store{Dir: n.stateDir} }

// state returns the host's routes.
func (n *node) state() string { return n.Routes("main") }

// allocate stores an allocation of flock-ipam's.
func (n *node) allocate(t *testing.T, id, netns string, addrs ...string) {
	t.Helper()
	alloc := store.Allocation{Attachment: attachment(id), State: store.Pending, Netns: netns}
	for _, a := range addrs {
		alloc.Addresses = append(alloc.Addresses, netip.MustParseAddr(a))
	}
	if err := n.store().Update(func(tx *store.Tx) error { return tx.Put(alloc) }); err != nil {
		t.Fatal(err)
	}
}

func attachment(id string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: id, IfName: "eth0"}
}

func (n *node) allocation(t *testing.T, id string) (alloc store.Allocation) {
	t.Helper()
	err := n.store().View(func(tx *store.Tx) (err error) {
		alloc, _, err = tx.Get(attachment(id))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return alloc
}

func TestCommit(t *testing.T) {
	n := newNode(t, "v1", "v2")
	n.allocate(t, "a", n.Pods["v1"].Path(), "10.0.0.1")
	n.allocate(t, "b", n.Pods["v2"].Path(), "10.0.0.2")
	if got := hosttest.Describe(n.add("a", "v1", "10.0.0.1")); got != "ok" {
		t.Fatalf("ADD: %s", got)
	}
	if alloc := n.allocation(t, "a"); alloc.State != store.Committed || alloc.CommittedAt.IsZero() {
		t.Errorf("allocation after ADD: %+v, want it committed", alloc)
	}
	want := "103: note the addresses of attachment flock/b/eth0: address 10.0.0.1 belongs to attachment flock/a/eth0"
	if got := hosttest.Describe(n.add("b", "v2", "10.0.0.2", "10.0.0.1")); got != want {
		t.Errorf("ADD with another's address: %s, want %s", got, want)
	}
	if alloc := n.allocation(t, "b"); alloc.State != store.Pending {
		t.Errorf("allocation after a failed ADD: %+v, want it pending", alloc)
	}
	if diff := cmp.Diff("10.0.0.1 dev v1 proto 72 scope link metric 16", n.state()); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

// TestDel deletes what ADD made, in each state of the world around it.
func TestDel(t *testing.T) {
	addrs := []string{"2001:db8::1", "10.0.0.1", "2001:db8:a::1@lo"}
	for _, tt := range []struct {
		name string
		// meanwhile happens between ADD and DEL.
		meanwhile func(*testing.T, *node)
		prev      bool
		want      string
	}{
		{name: "without prevResult"},
		{name: "with prevResult", prev: true},
		{name: "another pod has the anycast address too", want: "2001:db8:a::1 nhid N proto 72 metric 16 pref medium\nnexthop dev v2 weight 1",
			meanwhile: func(t *testing.T, n *node) {
				if err := n.add("b", "v2", "2001:db8:a::1@lo"); err != nil {
					t.Fatal(hosttest.Describe(err))
				}
			}},
		{name: "link gone", meanwhile: func(_ *testing.T, n *node) { n.IP("link del v1") }},
		{name: "link gone, with prevResult", prev: true, meanwhile: func(_ *testing.T, n *node) { n.IP("link del v1") }},
		{name: "namespace gone", prev: true, meanwhile: func(_ *testing.T, n *node) { n.Kill("v1") }},
		{name: "routes gone", prev: true, meanwhile: func(_ *testing.T, n *node) { n.IP("route flush proto 72") }},
		{name: "metric changed", meanwhile: func(_ *testing.T, n *node) { n.conf["metric"] = 20 }},
		{name: "store lost", prev: true, meanwhile: func(t *testing.T, n *node) { n.stateDir = t.TempDir(); n.conf["stateDir"] = n.stateDir }},
		{name: "store damaged", prev: true, meanwhile: func(t *testing.T, n *node) {
			if err := os.WriteFile(filepath.Join(n.stateDir, "store.db"), []byte(strings.Repeat("garbage", 9999)), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a stranger's route to the address", want: "10.0.0.1 dev v2 proto static scope link metric 20",
			meanwhile: func(_ *testing.T, n *node) { n.IP("route add 10.0.0.1 dev v2 proto static metric 20") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, "v1", "v2")
			netns := n.Pods["v1"].Path()
			if err := n.add("a", "v1", addrs...); err != nil {
				t.Fatal(hosttest.Describe(err))
			}
			if tt.meanwhile != nil {
				tt.meanwhile(t, n)
			}
			call := hosttest.Call{Binary: n.binary, Verb: "DEL", ContainerID: "a", Netns: netns, Conf: n.conf}
			if tt.prev {
				call.Prev = hosttest.Result("v1", netns, addrs...)
			}
			for range 2 {
				if _, err := n.Call(call); err != nil {
					t.Errorf("DEL: %s", hosttest.Describe(err))
				}
				if diff := cmp.Diff(tt.want, n.state()); diff != "" {
					t.Errorf("routes after DEL (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestDelByAllocation finds the routes of an attachment of which the store holds the allocation alone.
func TestDelByAllocation(t *testing.T) {
	n := newNode(t, "v1")
	n.IP("route add 10.0.0.1 dev v1 proto 72 metric 16")
	n.IP("route add 10.0.0.2 dev v1 proto 72 metric 16")
	n.allocate(t, "a", "/run/netns/gone", "10.0.0.1")
	if err := n.del("a"); err != nil {
		t.Fatal(hosttest.Describe(err))
	}
	if diff := cmp.Diff("10.0.0.2 dev v1 proto 72 scope link metric 16", n.state()); diff != "" {
		t.Errorf("routes after DEL (-want +got):\n%s", diff)
	}
}

// TestBridge has two pods behind one link: the late DEL of the one leaves the other's route alone.
func TestBridge(t *testing.T) {
	n := newNode(t, "v1", "v2")
	n.IP("link add bridge0 type bridge")
	n.IP("link set bridge0 up")
	add := func(id, link string, addrs ...string) *types.Error {
		netns := n.Pods[link].Path()
		_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "ADD", ContainerID: id, Netns: netns, Conf: n.conf, Prev: hosttest.Result("bridge0", netns, addrs...)})
		return err
	}
	if err := add("dead", "v1", "10.0.0.1", "10.0.0.3"); err != nil {
		t.Fatal(hosttest.Describe(err))
	}
	want := "103: note the addresses of attachment flock/alive/eth0: address 10.0.0.1 belongs to attachment flock/dead/eth0"
	if err := add("alive", "v2", "10.0.0.1"); hosttest.Describe(err) != want {
		t.Errorf("ADD while the other lives: %s, want %s", hosttest.Describe(err), want)
	}
	n.Kill("v1")
	if err := add("alive", "v2", "10.0.0.1"); err != nil {
		t.Fatal(hosttest.Describe(err))
	}
	n.mustDel(t, "dead")
	if diff := cmp.Diff("10.0.0.1 dev bridge0 proto 72 scope link metric 16", n.state()); diff != "" {
		t.Errorf("routes after the late DEL (-want +got):\n%s", diff)
	}
	n.mustDel(t, "alive")
	if got := n.state(); got != "" {
		t.Errorf("in the end there is still:\n%s", got)
	}
}

func TestGC(t *testing.T) {
	n := newNode(t, "v1", "v2", "v3")
	for i, id := range []string{"a", "b", "c"} {
		if err := n.add(id, fmt.Sprintf("v%d", i+1), fmt.Sprintf("10.0.0.%d", i+1), "2001:db8:a::1@lo"); err != nil {
			t.Fatal(hosttest.Describe(err))
		}
	}
	n.IP("route add 10.0.0.9 dev v1 proto 72 metric 16") // nobody's: another network's, perhaps
	_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "GC", Conf: n.conf, Valid: []string{"b"}})
	if err != nil {
		t.Fatal(hosttest.Describe(err))
	}
	want := "2001:db8:a::1 nhid N proto 72 metric 16 pref medium\nnexthop dev v2 weight 1\n" +
		"10.0.0.2 dev v2 proto 72 scope link metric 16\n10.0.0.9 dev v1 proto 72 scope link metric 16"
	if diff := cmp.Diff(want, n.state()); diff != "" {
		t.Errorf("routes after GC (-want +got):\n%s", diff)
	}
}

// TestPodsComeAndGoAtOnce runs 8 processes for one anycast address: 4 pods come, and 4 that were there go.
func TestPodsComeAndGoAtOnce(t *testing.T) {
	links := []string{"v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"}
	n := newNode(t, links...)
	const any6, any4 = "2001:db8:a::1@lo", "10.9.9.9@lo"
	for _, link := range links[4:] {
		if err := n.add(link, link, any6, any4); err != nil {
			t.Fatal(hosttest.Describe(err))
		}
	}
	for range 5 {
		var all sync.WaitGroup
		for _, link := range links[:4] {
			all.Go(func() { n.mustAdd(t, link, any6, any4) })
		}
		for _, link := range links[4:] {
			all.Go(func() { n.mustDel(t, link) })
		}
		all.Wait()
		if diff := cmp.Diff(strings.Join(links[:4], " "), n.devices("-6")); diff != "" {
			t.Errorf("links of the IPv6 address (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(strings.Join(links[:4], " "), n.devices("-4")); diff != "" {
			t.Errorf("links of the IPv4 address (-want +got):\n%s", diff)
		}
		links = append(links[4:8:8], links[:4]...) // and now the other way round
	}
	for _, link := range links {
		n.mustDel(t, link)
	}
	if got := n.state() + n.Nexthops(); got != "" {
		t.Errorf("in the end there is still:\n%s", got)
	}
}

// TestLockedAddress does the same without the start of processes in between, so that they do meet: without
// the address's lock one of two that join at once is forgotten.
func TestLockedAddress(t *testing.T) {
	links := []string{"v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"}
	n := newNode(t, links...)
	each := func(links []string, do func(r *router, link string) error) {
		var all sync.WaitGroup
		for _, link := range links {
			all.Go(func() {
				n.Netlink(func(c *rtnl.Conn) error {
					r := &router{conn: c, metric: rtnl.Metric}
					r.keeper = claim.Keeper{Store: n.store(), Stage: stage, Undo: r.remove}
					return do(r, link)
				})
			})
		}
		all.Wait()
	}
	join := func(r *router, link string) error {
		c := claim.Claim{Link: link, Netns: n.Pods[link].Path(), Table: unix.RT_TABLE_MAIN, Anycast: []netip.Addr{netip.MustParseAddr("2001:db8:a::1")}}
		var err error
		if c.LinkIndex, err = r.conn.LinkIndex(link); err != nil {
			return err
		}
		return r.keeper.Take(attachment(link), c, commit(attachment(link)), func() error { return r.install(c) })
	}
	leave := func(r *router, link string) error {
		return r.keeper.Release(attachment(link), func(*store.Tx) (claim.Claim, error) { return claim.Claim{}, nil })
	}
	for range 10 {
		each(links, join)
		if diff := cmp.Diff(strings.Join(links, " "), n.devices("-6")); diff != "" {
			t.Fatalf("links of the address (-want +got):\n%s", diff)
		}
		each(links, leave)
		if got := n.state() + n.Nexthops(); got != "" {
			t.Fatalf("when all have left there is still:\n%s", got)
		}
	}
}

func (n *node) mustAdd(t *testing.T, link string, addrs ...string) {
	if err := n.add(link, link, addrs...); err != nil {
		t.Errorf("ADD %s: %s", link, hosttest.Describe(err))
	}
}

func (n *node) mustDel(t *testing.T, link string) {
	if err := n.del(link); err != nil {
		t.Errorf("DEL %s: %s", link, hosttest.Describe(err))
	}
}

// devices returns the sorted links of the family's only route.
func (n *node) devices(family string) string {
	out, err := n.Run(context.Background(), "sh", "-c", "ip "+family+" route show proto 72 | grep -o 'dev v.' | cut -c 5- | sort | xargs")
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(out)
}

func TestStatus(t *testing.T) {
	n := newNode(t)
	call := hosttest.Call{Binary: n.binary, Verb: "STATUS", Conf: n.conf}
	if _, err := n.Call(call); err != nil {
		t.Errorf("STATUS: %s", hosttest.Describe(err))
	}
	n.conf["stateDir"] = "/dev/null"
	if _, err := n.Call(call); !strings.HasPrefix(hosttest.Describe(err), "50: look into the store: ") {
		t.Errorf("STATUS without a state folder: %s, want code 50", hosttest.Describe(err))
	}
}
