// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/hosttest"
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

const (
	dualStack = "2001:db8::1 dev v1 proto 72 metric 16 pref medium\n10.0.0.1 dev v1 proto 72 scope link metric 16"
	shared    = "2001:db8:a::1 nhid N proto 72 metric 16 pref medium\nnexthop dev v1 weight 1\nnexthop dev v2 weight 1"
	alone     = "2001:db8:a::1 nhid N proto 72 metric 16 pref medium\nnexthop dev v1 weight 1"
)

func TestAdd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before []string // ip commands
		conf   map[string]any
		addrs  []string
		want   string
		err    string
	}{
		{name: "dual stack", addrs: []string{"2001:db8::1", "10.0.0.1"}, want: dualStack},
		{name: "the same address twice", addrs: []string{"2001:db8::1", "10.0.0.1", "10.0.0.1", "10.0.0.1@lo"}, want: dualStack},
		{name: "anycast", addrs: []string{"2001:db8:a::1@lo", "10.9.9.9@lo"}, want: alone + "\n10.9.9.9 nhid N dev v1 proto 72 scope link metric 16"},
		{name: "no address"},
		{name: "metric", conf: map[string]any{"metric": 20}, addrs: []string{"10.0.0.1"}, want: "10.0.0.1 dev v1 proto 72 scope link metric 20"},
		{
			name:   "under the pool's blackhole",
			before: []string{"route add blackhole 10.0.0.0/24 proto 72 metric 16"},
			addrs:  []string{"10.0.0.1"},
			want:   "blackhole 10.0.0.0/24 proto 72 metric 16\n10.0.0.1 dev v1 proto 72 scope link metric 16",
		},
		{
			name:   "beside the route of ptp",
			before: []string{"route add 10.0.0.1 dev v1 scope host", "-6 route add 2001:db8::1 dev v1 metric 1024"},
			addrs:  []string{"2001:db8::1", "10.0.0.1"},
			want: "2001:db8::1 dev v1 proto 72 metric 16 pref medium\n2001:db8::1 dev v1 metric 1024 pref medium\n" +
				"10.0.0.1 dev v1 scope host\n10.0.0.1 dev v1 proto 72 scope link metric 16",
		},
		{
			name:   "stale route to a dead pod's link",
			before: []string{"route add 10.0.0.1 dev v2 proto 72 metric 16", "-6 route add 2001:db8::1 dev v2 proto 72 metric 16"},
			addrs:  []string{"2001:db8::1", "10.0.0.1"},
			want:   dualStack,
		},
		{
			name:   "stale unicast route of what is anycast now",
			before: []string{"-6 route add 2001:db8:a::1 dev v2 proto 72 metric 16"},
			addrs:  []string{"2001:db8:a::1@lo"},
			want:   alone,
		},
		{
			name:   "a stranger's route",
			before: []string{"route add 10.0.0.1 dev v2 proto static"},
			addrs:  []string{"10.0.0.1"},
			want:   "10.0.0.1 dev v2 proto static scope link",
			err:    "103: 10.0.0.1 has another route already: 10.0.0.1/32 dev #",
		},
		{
			name:   "a stranger's route to an anycast address",
			before: []string{"-6 route add 2001:db8:a::1 dev v2 proto static metric 16"},
			addrs:  []string{"2001:db8:a::1@lo"},
			want:   "2001:db8:a::1 dev v2 proto static metric 16 pref medium",
			err:    "103: 2001:db8:a::1 has another route already",
		},
		{
			name:   "the host's own address",
			before: []string{"addr add 10.0.0.1/32 dev v1", "-6 route add local 2001:db8::1 dev v1"},
			addrs:  []string{"10.0.0.1"},
			err:    "103: 10.0.0.1 has another route already: local 10.0.0.1/32",
		},
		{
			name:   "the host's own address, IPv6 anycast",
			before: []string{"-6 route add local 2001:db8::1 dev lo"},
			addrs:  []string{"2001:db8::1@lo"},
			err:    "103: 2001:db8::1 has another route already: local 2001:db8::1/128",
		},
		{
			name:   "behind a policy rule that hides the main table",
			before: []string{"rule add pref 100 lookup 100", "route add default dev v2 table 100", "route add 10.0.0.1 dev v2 proto 72 metric 16"},
			addrs:  []string{"10.0.0.1"},
			want:   "10.0.0.1 dev v1 proto 72 scope link metric 16",
		},
		{name: "link-local", addrs: []string{"fe80::1"}, err: "7: route address fe80::1 of prevResult: it is no address that a route can lead to"},
		{name: "loopback", addrs: []string{"127.0.0.1"}, err: "7: route address 127.0.0.1"},
		{name: "multicast", addrs: []string{"ff02::1@lo"}, err: "7: route address ff02::1"},
		{name: "unspecified", addrs: []string{"0.0.0.0"}, err: "7: route address 0.0.0.0"},
		{name: "link down", before: []string{"link set v1 down"}, addrs: []string{"10.0.0.1"}, err: "110: add route 10.0.0.1/32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, "v1", "v2")
			for _, command := range tt.before {
				n.IP(command)
			}
			for key, value := range tt.conf {
				n.conf[key] = value
			}
			for range 2 { // repeated, it changes nothing
				err := n.add("a", "v1", tt.addrs...)
				if got := hosttest.Describe(err); tt.err == "" && err != nil || !strings.HasPrefix(got, tt.err) {
					t.Errorf("ADD: %s, want %q", got, tt.err)
				}
				if diff := cmp.Diff(tt.want, n.state()); diff != "" {
					t.Errorf("routes after ADD (-want +got):\n%s", diff)
				}
			}
			if err := n.del("a"); err != nil {
				t.Errorf("DEL: %s", hosttest.Describe(err))
			}
			if got := n.state() + n.Nexthops(); strings.Contains(got, "proto 72") != strings.Contains(tt.want, "blackhole") {
				t.Errorf("after DEL there is still:\n%s", got)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	n := newNode(t, "v1")
	for _, tt := range []struct {
		conf map[string]any
		want string
	}{
		{map[string]any{"stateDir": "run/flock"}, `7: key "stateDir": "run/flock" is no absolute path`},
		{map[string]any{"metric": 0}, `7: key "metric": `},
		{map[string]any{"metric": -1}, `7: `},
		{map[string]any{"metric": 1 << 32}, `7: `},
		{map[string]any{"metrics": 16}, `7: unknown key "metrics"`},
		{map[string]any{"table": 7273}, `7: unknown key "table"`},
	} {
		n.conf = tt.conf
		if got := hosttest.Describe(n.add("a", "v1", "10.0.0.1")); !strings.HasPrefix(got, tt.want) {
			t.Errorf("ADD with %v: %s, want %s", tt.conf, got, tt.want)
		}
	}
}

func TestNoHostInterface(t *testing.T) {
	n := newNode(t, "v1")
	netns := n.Pods["v1"].Path()
	for _, tt := range []struct{ link, want string }{
		{"absent", `108: find the host-side interface: prevResult names "absent", and there is none`},
		{strings.Repeat("x", 20), "108: "},
		{"", "108: "},
	} {
		_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "ADD", ContainerID: "a", Netns: netns, Conf: n.conf, Prev: hosttest.Result(tt.link, netns, "10.0.0.1")})
		if got := hosttest.Describe(err); !strings.HasPrefix(got, tt.want) {
			t.Errorf("ADD with link %q: %s, want %s", tt.link, got, tt.want)
		}
	}
	inside := hosttest.Result("eth0", netns, "10.0.0.1")
	inside.Interfaces[0].Sandbox = netns
	_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "ADD", ContainerID: "a", Netns: netns, Conf: n.conf, Prev: inside})
	if got := hosttest.Describe(err); !strings.HasPrefix(got, "108: ") {
		t.Errorf("ADD after macvlan: %s, want code 108", got)
	}
}

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
