// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/hint"
	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/plugins/cni"
)

func TestAdd(t *testing.T) {
	all := []string{"2001:db8::1", "10.0.0.1", "2001:db8:f::1", "10.5.0.1", "2001:db8:a::1@lo", "10.9.9.9@lo"}
	for _, tt := range []struct {
		name   string
		before []string // ip commands
		conf   map[string]any
		want   string
	}{
		{
			name: "no summary",
			want: "2001:db8::1 dev v1 proto 73 metric 16 pref medium\n2001:db8:f::1 dev v1 proto 73 metric 16 pref medium\n" +
				"10.0.0.1 dev v1 proto 73 scope link metric 16\n10.5.0.1 dev v1 proto 73 scope link metric 16",
		},
		{
			name: "summaries",
			before: []string{"-6 route add blackhole 2001:db8::/64 table 7273 proto 73 metric 16", "route add blackhole 10.0.0.0/24 table 7273 proto 73 metric 16",
				"route add blackhole 10.5.0.0/24 table 7273 proto static"},
			want: "blackhole 2001:db8::/64 dev lo proto 73 metric 16 pref medium\n2001:db8:f::1 dev v1 proto 73 metric 16 pref medium\n" +
				"blackhole 10.0.0.0/24 proto 73 metric 16\nblackhole 10.5.0.0/24 proto static\n10.5.0.1 dev v1 proto 73 scope link metric 16",
		},
		{
			name:   "anycast at once",
			before: []string{"-6 route add blackhole ::/0 table 7273 proto 73 metric 16", "route add blackhole 0.0.0.0/0 table 7273 proto 73 metric 16"},
			conf:   map[string]any{"anycast": "immediate"},
			want: "2001:db8:a::1 dev v1 proto 73 metric 18 pref medium\nblackhole default dev lo proto 73 metric 16 pref medium\n" +
				"blackhole default proto 73 metric 16\n10.9.9.9 dev v1 proto 73 scope link metric 18",
		},
		{name: "another table", conf: map[string]any{"table": 100}},
		{
			name:   "stale routes to a dead pod's link",
			before: []string{"-6 route add 2001:db8::1 dev v2 table 7273 proto 73 metric 16", "route add 10.0.0.1 dev v2 table 7273 proto 73 metric 16"},
			want: "2001:db8::1 dev v1 proto 73 metric 16 pref medium\n2001:db8:f::1 dev v1 proto 73 metric 16 pref medium\n" +
				"10.0.0.1 dev v1 proto 73 scope link metric 16\n10.5.0.1 dev v1 proto 73 scope link metric 16",
		},
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
				n.must(t, "ADD", "v1", all...)
				if diff := cmp.Diff(tt.want, n.announced()); diff != "" {
					t.Errorf("announced after ADD (-want +got):\n%s", diff)
				}
			}
			n.must(t, "CHECK", "v1", all...)
			for range 2 {
				if err := n.del("v1"); err != nil {
					t.Errorf("DEL: %s", hosttest.Describe(err))
				}
				if got := n.announced() + n.Routes("100"); strings.Contains(got, "dev v") {
					t.Errorf("after DEL there is still:\n%s", got)
				}
			}
		})
	}
}

func TestAddToStrangersRoute(t *testing.T) {
	n := newNode(t, "v1", "v2")
	n.IP("route add 10.0.0.1 dev v2 table 7273 proto static metric 16")
	if got := hosttest.Describe(n.call("ADD", "v1", "10.0.0.1")); !strings.HasPrefix(got, "103: 10.0.0.1 has another route already: 10.0.0.1/32 dev #") {
		t.Errorf("ADD: %s, want code 103", got)
	}
	n.must(t, "DEL", "v1", "10.0.0.1")
	if diff := cmp.Diff("10.0.0.1 dev v2 proto static scope link metric 16", n.announced()); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
}

// TestDel withdraws what ADD announced, in each state of the world around it.
func TestDel(t *testing.T) {
	addrs := []string{"2001:db8::1", "10.0.0.1", "10.9.9.9@lo"}
	for name, meanwhile := range map[string]func(*node){
		"as it was":           func(*node) {},
		"link gone":           func(n *node) { n.IP("link del v1") },
		"namespace gone":      func(n *node) { n.Kill("v1") },
		"configuration other": func(n *node) { n.conf["table"], n.conf["anycast"] = 100, "ready" },
		"store lost":          func(n *node) { n.conf["stateDir"] = t.TempDir() },
		"withdrawn already":   func(n *node) { n.IP("route flush table 7273") },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, "v1")
			n.conf["anycast"] = "immediate"
			n.must(t, "ADD", "v1", addrs...)
			meanwhile(n)
			n.must(t, "DEL", "v1", addrs...)
			if got := n.announced(); got != "" {
				t.Errorf("after DEL there is still:\n%s", got)
			}
		})
	}
}

// TestAnycastAtOnce runs 8 processes for one anycast address: 4 pods come, and 4 that were there go.
func TestAnycastAtOnce(t *testing.T) {
	links := []string{"v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"}
	n := newNode(t, links...)
	n.conf["anycast"] = "immediate"
	for _, link := range links[4:] {
		n.must(t, "ADD", link, "2001:db8:a::1@lo", "10.9.9.9@lo")
	}
	var all sync.WaitGroup
	for i, link := range links {
		all.Go(func() {
			if i < 4 {
				n.must(t, "ADD", link, "2001:db8:a::1@lo", "10.9.9.9@lo")
			} else if err := n.del(link); err != nil {
				t.Errorf("DEL %s: %s", link, hosttest.Describe(err))
			}
		})
	}
	all.Wait()
	var v6, v4 []string
	for i, link := range links[:4] {
		v6 = append(v6, fmt.Sprintf("2001:db8:a::1 dev %s proto 73 metric %d pref medium", link, 18+i))
		v4 = append(v4, fmt.Sprintf("10.9.9.9 dev %s proto 73 scope link metric %d", link, 18+i))
	}
	if diff := cmp.Diff(strings.Join(append(v6, v4...), "\n"), n.announced()); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
}

func TestGC(t *testing.T) {
	n := newNode(t, "v1", "v2")
	n.must(t, "ADD", "v1", "10.0.0.1")
	n.must(t, "ADD", "v2", "10.0.0.2")
	n.IP("route add 10.0.0.9 dev v1 table 7273 proto 73 metric 16") // nobody's: another network's, perhaps
	if _, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "GC", Conf: n.conf, Valid: []string{"v2"}}); err != nil {
		t.Fatal(hosttest.Describe(err))
	}
	want := "10.0.0.2 dev v2 proto 73 scope link metric 16\n10.0.0.9 dev v1 proto 73 scope link metric 16"
	if diff := cmp.Diff(want, n.announced()); diff != "" {
		t.Errorf("announced after GC (-want +got):\n%s", diff)
	}
}

func TestHints(t *testing.T) {
	n := newNode(t, "v1")
	birdd, err := hint.Listen(n.stateDir)
	if err != nil {
		t.Fatal(err)
	}
	defer birdd.Close()
	n.must(t, "ADD", "v1", "10.0.0.1")
	n.must(t, "DEL", "v1", "10.0.0.1")
	want := hint.Hint{Attachment: cni.Attachment{Network: "flock", ContainerID: "v1", IfName: "eth0"}}
	for _, verb := range []string{"ADD", "DEL"} {
		if got, err := birdd.Receive(); err != nil || got != want {
			t.Errorf("hint of %s %v, %v, want %v", verb, got, err, want)
		}
	}
}

func TestConfig(t *testing.T) {
	n := newNode(t, "v1")
	for _, tt := range []struct {
		conf map[string]any
		want string
	}{
		{map[string]any{"stateDir": "run/flock"}, `7: key "stateDir": "run/flock" is no absolute path`},
		{map[string]any{"table": 0}, `7: key "table": 0 is one that the kernel forwards by`},
		{map[string]any{"table": 254}, `7: key "table": 254 `},
		{map[string]any{"table": "flock"}, `7: `},
		{map[string]any{"anycast": "never"}, `7: key "anycast": "never" is neither "ready" nor "immediate"`},
		{map[string]any{"metric": 16}, `7: unknown key "metric"`},
	} {
		n.conf = tt.conf
		if got := hosttest.Describe(n.call("ADD", "v1", "10.0.0.1")); !strings.HasPrefix(got, tt.want) {
			t.Errorf("ADD with %v: %s, want %s", tt.conf, got, tt.want)
		}
	}
}
