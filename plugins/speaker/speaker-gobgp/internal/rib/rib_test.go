// SPDX-License-Identifier: Apache-2.0

package rib

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/plugins/speaker"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

var config = speaker.Config{
	Summaries:    prefixes("2001:db8:1::/64", "10.244.1.0/24"),
	ExportAccept: prefixes("2001:db8:f::/48", "192.0.2.0/24"),
	Own: []netip.Addr{netip.MustParseAddr("fd00:1::2"), netip.MustParseAddr("10.0.1.2"),
		netip.MustParseAddr("fe80::2"), netip.MustParseAddr("127.0.0.1")},
	Peers: []speaker.Peer{
		{Name: "far", Address: netip.MustParseAddr("2001:db8:ffff::1"), Multihop: 3},
		{Name: "tor", Address: netip.MustParseAddr("fd00:1::1")},
		{Name: "tor4", Address: netip.MustParseAddr("169.254.77.1")},
	},
}

func TestExports(t *testing.T) {
	rules := NewRules(config)
	for text, want := range map[string]bool{
		"2001:db8:1::/64": true, "10.244.1.0/24": true,
		"2001:db8:f::7/128": true, "192.0.2.7/32": true,
		"2001:db8:f::/64": false, "192.0.2.0/24": false, // not single
		"2001:db8:1::7/128": false, "2001:db8:1::/65": false, "::/0": false, "2001:db8:e::7/128": false,
	} {
		if got := rules.Exports(netip.MustParsePrefix(text)); got != want {
			t.Errorf("Exports(%s) = %t", text, got)
		}
	}
}

func TestTakes(t *testing.T) {
	rules := NewRules(config)
	all := speaker.Peer{ImportAccept: []speaker.PrefixMatch{
		{Prefix: netip.MustParsePrefix("::/0"), MaxLength: 128}, {Prefix: netip.MustParsePrefix("0.0.0.0/0"), MaxLength: 32}}}
	some := speaker.Peer{ImportAccept: []speaker.PrefixMatch{
		{Prefix: netip.MustParsePrefix("::/0")}, {Prefix: netip.MustParsePrefix("2001:db8::/32"), MaxLength: 48}}}
	for _, test := range []struct {
		peer   speaker.Peer
		prefix string
		want   bool
	}{
		{all, "::/0", true},
		{all, "0.0.0.0/0", true},
		{all, "2001:db8:a::/48", true},
		{all, "fd00:1::/64", false},   // the link itself
		{all, "fd00::/8", false},      // and around it
		{all, "fd00:1::2/128", false}, // the node's address
		{all, "fd00:1::1/128", false}, // the router's own
		{all, "10.0.0.0/8", false},
		{all, "10.1.0.0/16", true},
		{all, "169.254.0.0/16", false}, // a peer's link
		{all, "169.254.78.0/24", true},
		{all, "127.0.0.0/8", false}, // for no link
		{all, "127.1.2.3/32", false},
		{all, "128.0.0.0/8", true},
		{all, "224.0.0.0/4", false},
		{all, "239.1.0.0/16", false},
		{all, "::1/128", false},
		{all, "::/1", true},
		{all, "fe80::/10", false},
		{all, "fe80:1::/32", false},
		{all, "fec0::/10", true},
		{all, "ff00::/8", false},
		{all, "ff05::/16", false},
		{all, "2001:db8:ffff::1/128", true},
		{some, "::/0", true},
		{some, "2001:db8::/32", true},
		{some, "2001:db8:a::/48", true},
		{some, "2001:db8:a::/64", false},
		{some, "2001:d00::/24", false},
		{some, "2001:db9::/32", false},
		{some, "0.0.0.0/0", false},
		{speaker.Peer{}, "::/0", false},
	} {
		if got := rules.Takes(test.peer, netip.MustParsePrefix(test.prefix)); got != test.want {
			t.Errorf("Takes(%v, %s) = %t", test.peer.ImportAccept, test.prefix, got)
		}
	}
}

func sessions(paths []Path) string {
	var names []string
	for _, p := range paths {
		names = append(names, p.Session)
	}
	return strings.Join(names, " ")
}

func TestBest(t *testing.T) {
	for _, test := range []struct {
		name  string
		paths []Path
		want  string
	}{
		{"none", nil, ""},
		{"equal", []Path{{Session: "a"}, {Session: "b"}}, "a b"},
		{"local preference", []Path{{Session: "a", LocalPref: 100}, {Session: "b", LocalPref: 200, ASPathLength: 9}}, "b"},
		{"shorter path", []Path{{Session: "a", ASPathLength: 2}, {Session: "b", ASPathLength: 1, Origin: 2}}, "b"},
		{"origin", []Path{{Session: "a", Origin: 1}, {Session: "b", MED: 7}}, "b"},
		{"MED of one AS", []Path{{Session: "a", NeighborAS: 1, MED: 7}, {Session: "b", NeighborAS: 1, MED: 6}, {Session: "c", NeighborAS: 1, MED: 6}}, "b c"},
		{"MED of two", []Path{{Session: "a", NeighborAS: 1, MED: 7}, {Session: "b", NeighborAS: 2, MED: 6}}, "a b"},
		{"external", []Path{{Session: "a", Internal: true}, {Session: "b"}}, "b"},
	} {
		for range 2 {
			if got := strings.Fields(sessions(Best(test.paths))); !slices.Equal(slices.Sorted(slices.Values(got)), strings.Fields(test.want)) {
				t.Errorf("%s: best is %s", test.name, got)
			}
			slices.Reverse(test.paths)
		}
	}
}

func TestLimit(t *testing.T) {
	path := func(prefix string, age int64) Path {
		return Path{Prefix: netip.MustParsePrefix(prefix), Session: prefix, Age: age}
	}
	paths := []Path{path("10.4.0.0/16", 9), path("10.3.0.0/16", 7), path("10.2.0.0/16", 8), path("10.1.0.0/16", 8), path("10.1.0.0/24", 8)}
	if got := sessions(Limit(paths, 5, nil)); got != sessions(paths) {
		t.Errorf("within the limit: %s", got)
	}
	if got := sessions(Limit(paths, 3, nil)); got != "10.3.0.0/16 10.1.0.0/16 10.1.0.0/24" {
		t.Errorf("the oldest: %s", got)
	}
	before := map[netip.Prefix]bool{netip.MustParsePrefix("10.4.0.0/16"): true, netip.MustParsePrefix("10.9.0.0/16"): true}
	if got := sessions(Limit(paths, 2, before)); got != "10.4.0.0/16 10.3.0.0/16" {
		t.Errorf("what was taken before stays: %s", got)
	}
	if got := Limit(paths, 0, before); len(got) != 0 {
		t.Errorf("none: %v", got)
	}
}
