// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/hosttest"
)

const (
	dualStack = "2001:db8::1 dev v1 proto 72 metric 16 pref medium\n10.0.0.1 dev v1 proto 72 scope link metric 16"
	shared    = "2001:db8:a::1 nhid N proto 72 metric 16 pref medium\nnexthop dev v1 weight 1\nnexthop dev v2 weight 1"
	alone     = "2001:db8:a::1 nhid N proto 72 metric 16 pref medium\nnexthop dev v1 weight 1"
)

var addTests = []struct {
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
		name: "a router's way to the address, behind flock's",
		before: []string{"-6 route add 2001:db8::1 via fe80::1 dev v2 proto bird metric 32",
			"route add 10.0.0.1 via 10.8.0.1 dev v2 onlink proto bird metric 32"},
		addrs: []string{"2001:db8::1", "10.0.0.1"},
		want: "2001:db8::1 dev v1 proto 72 metric 16 pref medium\n2001:db8::1 via fe80::1 dev v2 proto bird metric 32 pref medium\n" +
			"10.0.0.1 dev v1 proto 72 scope link metric 16\n10.0.0.1 via 10.8.0.1 dev v2 proto bird metric 32 onlink",
	},
	{
		name: "a router's way to an anycast address, behind flock's",
		before: []string{"-6 route add 2001:db8:a::1 via fe80::1 dev v2 proto bgp metric 32",
			"route add 10.9.9.9 via 10.8.0.1 dev v2 onlink proto bgp metric 32"},
		addrs: []string{"2001:db8:a::1@lo", "10.9.9.9@lo"},
		want: alone + "\n2001:db8:a::1 via fe80::1 dev v2 proto bgp metric 32 pref medium\n" +
			"10.9.9.9 nhid N dev v1 proto 72 scope link metric 16\n10.9.9.9 via 10.8.0.1 dev v2 proto bgp metric 32 onlink",
	},
	{
		name:   "a router's way, as good as flock's",
		before: []string{"-6 route add 2001:db8::1 via fe80::1 dev v2 proto bird metric 16"},
		addrs:  []string{"2001:db8::1"},
		want:   "2001:db8::1 via fe80::1 dev v2 proto bird metric 16 pref medium",
		err:    "103: 2001:db8::1 has another route already",
	},
	{
		name:   "a router's way before flock's",
		conf:   map[string]any{"metric": 40},
		before: []string{"route add 10.9.9.9 via 10.8.0.1 dev v2 onlink proto bird metric 32"},
		addrs:  []string{"10.9.9.9@lo"},
		want:   "10.9.9.9 via 10.8.0.1 dev v2 proto bird metric 32 onlink",
		err:    "103: 10.9.9.9 has another route already",
	},
	{
		name:   "a way in a table before main",
		before: []string{"-6 rule add pref 100 lookup 100", "-6 route add 2001:db8::1 dev v2 table 100 proto static"},
		addrs:  []string{"2001:db8::1"},
		err:    "103: 2001:db8::1 has another route already",
	},
	{
		name:   "the host's own address, whatever its metric",
		before: []string{"route add local 10.0.0.1 dev v1 metric 100"},
		addrs:  []string{"10.0.0.1"},
		err:    "103: 10.0.0.1 has another route already: local 10.0.0.1/32",
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
}

func TestAdd(t *testing.T) {
	for _, tt := range addTests {
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
		{map[string]any{"metric": 0}, `7: key "metric": 0 is not above 8`},
		{map[string]any{"metric": 8}, `7: key "metric": 8 is not above 8`},
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

// TestFullDisk gives the plugin a state folder with no room.
func TestFullDisk(t *testing.T) {
	n := newNode(t, "v1")
	script := "#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs -o size=4k none $0 && exec $1' " + n.stateDir + " " + n.binary + "\n"
	n.binary = filepath.Join(t.TempDir(), stage)
	if err := os.WriteFile(n.binary, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := hosttest.Describe(n.add("a", "v1", "10.0.0.1")); !strings.HasPrefix(got, "105: ") {
		t.Errorf("ADD: %s, want code 105", got)
	}
	if got := n.state(); got != "" {
		t.Errorf("after the failed ADD there is:\n%s", got)
	}
}
