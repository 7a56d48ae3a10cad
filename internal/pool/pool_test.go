// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// draw shows a pool on one line.
func draw(p Pool) string {
	line := fmt.Sprintf("%s: %s gw %s aside", p.Name, p.Prefix, p.Gateway)
	for _, r := range p.Aside {
		line += " " + r.First.String()
		if r.First != r.Last {
			line += "-" + r.Last.String()
		}
	}
	return line
}

func TestParse(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"CIDR alone", `["2001:db8::/64"]`, "2001:db8::/64: 2001:db8::/64 gw 2001:db8::1 aside 2001:db8::-2001:db8::1"},
		{"IPv4", `["10.0.0.0/24"]`, "10.0.0.0/24: 10.0.0.0/24 gw 10.0.0.1 aside 10.0.0.0-10.0.0.1 10.0.0.255"},
		{"gateway", `[{"name":"a","cidr":"10.0.0.0/24","gateway":"10.0.0.254"}]`,
			"a: 10.0.0.0/24 gw 10.0.0.254 aside 10.0.0.0 10.0.0.254-10.0.0.255"},
		{"reserved", `[{"cidr":"10.0.0.0/24","reserved":["10.0.0.9","10.0.0.64/26","10.0.0.4-10.0.0.8"]}]`,
			"10.0.0.0/24: 10.0.0.0/24 gw 10.0.0.1 aside 10.0.0.0-10.0.0.1 10.0.0.4-10.0.0.9 10.0.0.64-10.0.0.127 10.0.0.255"},
		{"reserved twice over", `[{"cidr":"10.0.0.0/24","reserved":["10.0.0.0/25","10.0.0.8"]}]`,
			"10.0.0.0/24: 10.0.0.0/24 gw 10.0.0.1 aside 10.0.0.0-10.0.0.127 10.0.0.255"},
		{"two addresses", `["2001:db8::/127"]`, "2001:db8::/127: 2001:db8::/127 gw invalid IP aside"},
		{"one address", `["10.0.0.7/32"]`, "10.0.0.7/32: 10.0.0.7/32 gw invalid IP aside"},
		{"two addresses and a gateway", `[{"cidr":"10.0.0.0/31","gateway":"10.0.0.0"}]`,
			"10.0.0.0/31: 10.0.0.0/31 gw 10.0.0.0 aside 10.0.0.0"},
		{"huge", `["10.0.0.0/8","2001:db8::/32"]`, "10.0.0.0/8: 10.0.0.0/8 gw 10.0.0.1 aside 10.0.0.0-10.0.0.1 10.255.255.255\n" +
			"2001:db8::/32: 2001:db8::/32 gw 2001:db8::1 aside 2001:db8::-2001:db8::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range mustParse(t, tt.in) {
				got = append(got, draw(p))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("Parse(%s) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func parseJSON(in string) ([]Pool, error) {
	var specs []Spec
	if err := json.Unmarshal([]byte(in), &specs); err != nil {
		return nil, err
	}
	return Parse(specs)
}

func mustParse(t testing.TB, in string) []Pool {
	t.Helper()
	pools, err := parseJSON(in)
	if err != nil {
		t.Fatalf("Parse(%s): %v", in, err)
	}
	return pools
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"host bits", `["2001:db8::1/64"]`, `parse pool "2001:db8::1/64": cidr "2001:db8::1/64" has host bits set: write 2001:db8::/64`},
		{"IPv4-mapped", `[{"name":"m","cidr":"::ffff:10.0.0.0/120"}]`, `parse pool "m": cidr "::ffff:10.0.0.0/120" is IPv4-mapped IPv6: write it as IPv4`},
		{"zone", `["2001:db8::%eth0/64"]`, `parse pool "2001:db8::%eth0/64": cidr "2001:db8::%eth0/64" is no CIDR: write one such as 2001:db8::/64 or 192.0.2.0/24`},
		{"an address", `["10.0.0.0"]`, `parse pool "10.0.0.0": cidr "10.0.0.0" is no CIDR: write one such as 2001:db8::/64 or 192.0.2.0/24`},
		{"no cidr", `[{}]`, `parse pool number 1: no cidr: add one such as 2001:db8::/64`},
		{"null", `[null]`, `parse pool number 1: no cidr: add one such as 2001:db8::/64`},
		{"link-local", `["fe80::/64"]`, `parse pool "fe80::/64": cidr "fe80::/64" overlaps fe80::/10, whose addresses no pod can have: use global unicast or private addresses`},
		{"everything", `["::/0"]`, `parse pool "::/0": cidr "::/0" overlaps ::/127, whose addresses no pod can have: use global unicast or private addresses`},
		{"multicast", `["224.0.0.0/24"]`, `parse pool "224.0.0.0/24": cidr "224.0.0.0/24" overlaps 224.0.0.0/4, whose addresses no pod can have: use global unicast or private addresses`},
		{"unknown key", `[{"cird":"10.0.0.0/24"}]`, `read a pool: unknown field "cird": want a CIDR, or an object of name, cidr, gateway, reserved and allocator`},
		{"number", `[7]`, `read a pool: cannot unmarshal number into Go value of type pool.plain: want a CIDR, or an object of name, cidr, gateway, reserved and allocator`},
		{"name with a newline", `[{"name":"a\nb","cidr":"10.0.0.0/24"}]`, `parse pool "a\nb": name "a\nb": use at most 63 of the letters a-z and A-Z, digits and - . _ : /`},
		{"gateway outside", `[{"name":"a","cidr":"10.0.0.0/24","gateway":"10.0.1.1"}]`, `parse pool "a": gateway 10.0.1.1 is outside 10.0.0.0/24: use an address of the pool`},
		{"gateway of the other family", `[{"name":"a","cidr":"10.0.0.0/24","gateway":"2001:db8::1"}]`, `parse pool "a": gateway 2001:db8::1 is outside 10.0.0.0/24: use an address of the pool`},
		{"gateway is the network", `[{"name":"a","cidr":"10.0.0.0/24","gateway":"10.0.0.0"}]`, `parse pool "a": gateway 10.0.0.0 is the network or broadcast address of 10.0.0.0/24: use another`},
		{"gateway with a zone", `[{"name":"a","cidr":"2001:db8::/64","gateway":"2001:db8::1%eth0"}]`, `parse pool "a": gateway "2001:db8::1%eth0" has a zone: write 2001:db8::1`},
		{"reserved outside", `[{"name":"a","cidr":"10.0.0.0/24","reserved":["10.0.1.0/25"]}]`, `parse pool "a": reserved "10.0.1.0/25" is outside 10.0.0.0/24: correct or remove it`},
		{"reserved half outside", `[{"name":"a","cidr":"10.0.0.0/24","reserved":["10.0.0.200-10.0.1.3"]}]`, `parse pool "a": reserved "10.0.0.200-10.0.1.3" is outside 10.0.0.0/24: correct or remove it`},
		{"reserved falls", `[{"name":"a","cidr":"10.0.0.0/24","reserved":["10.0.0.9-10.0.0.3"]}]`, `parse pool "a": reserved "10.0.0.9-10.0.0.3" does not rise: write the lower address first, both of one family`},
		{"reserved garbage", `[{"name":"a","cidr":"10.0.0.0/24","reserved":["ten"]}]`, `parse pool "a": reserved "ten" is no address: write one such as 2001:db8::10 or 192.0.2.10`},
		{"reserved host bits", `[{"name":"a","cidr":"10.0.0.0/24","reserved":["10.0.0.3/30"]}]`, `parse pool "a": reserved "10.0.0.3/30" has host bits set: write 10.0.0.0/30`},
		{"allocator", `[{"name":"a","cidr":"10.0.0.0/24","allocator":"../x"}]`, `parse pool "a": allocator "../x": write random, sequential, or an extension's name: at most 40 of a-z, 0-9 and -`},
		{"allocator ends in -", `[{"name":"a","cidr":"10.0.0.0/24","allocator":"x-"}]`, `parse pool "a": allocator "x-": write random, sequential, or an extension's name: at most 40 of a-z, 0-9 and -`},
		{"name twice", `[{"name":"a","cidr":"10.0.0.0/24"},{"name":"a","cidr":"10.0.1.0/24"}]`, `parse pool "a": the name is used twice: give each pool its own`},
		{"overlap", `[{"name":"a","cidr":"10.0.0.0/16"},{"name":"c","cidr":"10.2.0.0/16"},{"name":"b","cidr":"10.0.3.0/24"}]`, `parse pool "b": its 10.0.3.0/24 overlaps 10.0.0.0/16 of pool "a": make them disjoint or remove one`},
		{"the same twice", `["10.0.0.0/16", {"name":"b","cidr":"10.0.0.0/16"}]`, `parse pool "b": its 10.0.0.0/16 overlaps 10.0.0.0/16 of pool "10.0.0.0/16": make them disjoint or remove one`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pools, err := parseJSON(tt.in)
			if err == nil {
				t.Fatalf("Parse(%s) = %v, want an error", tt.in, pools)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("Parse(%s) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestExternal(t *testing.T) {
	for allocator, want := range map[string]bool{"": false, "random": false, "sequential": false, "sticky": true, "r2-d2": true} {
		pools := mustParse(t, fmt.Sprintf(`[{"cidr":"10.0.0.0/24","allocator":%q}]`, allocator))
		if got := pools[0].External(); got != want || pools[0].Allocator != allocator {
			t.Errorf("allocator %q: External() = %v", allocator, got)
		}
	}
}

func TestCapacity(t *testing.T) {
	tests := []struct {
		in   string
		want uint64
	}{
		{`["10.0.0.0/32"]`, 1},
		{`["10.0.0.0/31"]`, 2},
		{`[{"cidr":"10.0.0.0/31","gateway":"10.0.0.1"}]`, 1},
		{`["10.0.0.0/30"]`, 1},
		{`["2001:db8::/126"]`, 2},
		{`["10.0.0.0/8"]`, 1<<24 - 3},
		{`[{"cidr":"10.0.0.0/8","reserved":["10.0.0.0/9"]}]`, 1<<23 - 1},
		{`[{"cidr":"10.0.0.0/24","reserved":["10.0.0.0/24"]}]`, 0},
		{`["2001:db8::/65"]`, 1<<63 - 2},
		{`["2001:db8::/64"]`, math.MaxUint64 - 1},
		{`["2001:db8::/32"]`, math.MaxUint64},
	}
	for _, tt := range tests {
		if got := mustParse(t, tt.in)[0].Capacity(); got != tt.want {
			t.Errorf("Capacity of %s = %d, want %d", tt.in, got, tt.want)
		}
	}
}

func TestCapacityOf(t *testing.T) {
	p := mustParse(t, `[{"cidr":"10.0.0.0/24","reserved":["10.0.0.60-10.0.0.67"]}]`)[0]
	for cidr, want := range map[string]uint64{
		"10.0.0.0/26": 58, "10.0.0.64/26": 60, "10.0.0.128/26": 64, "10.0.0.192/26": 63, "10.0.0.60/30": 0, "10.0.0.1/32": 0, "10.0.0.2/32": 1,
	} {
		if got := p.CapacityOf(netip.MustParsePrefix(cidr)); got != want {
			t.Errorf("CapacityOf(%s) = %d, want %d", cidr, got, want)
		}
	}
}

// TestAgree lists small pools, the one way in which Next, SetAside and Capacity can be held to each other.
func TestAgree(t *testing.T) {
	for _, in := range []string{
		`["10.0.0.0/24"]`, `["2001:db8::/120"]`, `["10.0.0.0/31"]`, `["10.0.0.0/30"]`,
		`[{"cidr":"10.0.0.0/25","gateway":"10.0.0.77","reserved":["10.0.0.3-10.0.0.9","10.0.0.96/27","10.0.0.10"]}]`,
	} {
		p := mustParse(t, in)[0]
		var byNext, bySetAside []netip.Addr
		for a, ok := p.Next(netip.Addr{}); ok; a, ok = p.Next(a.Next()) {
			byNext = append(byNext, a)
		}
		for a := p.Prefix.Addr(); p.Contains(a); a = a.Next() {
			if !p.SetAside(a) {
				bySetAside = append(bySetAside, a)
			}
		}
		if diff := cmp.Diff(bySetAside, byNext, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: Next differs from SetAside (-SetAside +Next):\n%s", in, diff)
		}
		if got, want := p.Capacity(), uint64(len(byNext)); got != want {
			t.Errorf("%s: Capacity = %d, listed %d", in, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	pools := mustParse(t, `["10.0.0.0/24","2001:db8::/64"]`)
	if p, ok := Find(pools, netip.MustParseAddr("2001:db8::7")); !ok || p.Name != "2001:db8::/64" {
		t.Errorf("Find = %v, %v", p, ok)
	}
	if p, ok := Find(pools, netip.MustParseAddr("10.0.1.0")); ok {
		t.Errorf("Find outside = %v", p)
	}
}

func TestHugePoolsCostNothing(t *testing.T) {
	cost := testing.AllocsPerRun(10, func() {
		p := mustParse(t, `[{"cidr":"2001:db8::/32","reserved":["2001:db8::/33"]}]`)[0]
		if a, ok := p.Next(p.Prefix.Addr()); !ok || a != netip.MustParseAddr("2001:db8:8000::") {
			t.Errorf("Next = %v, %v", a, ok)
		}
		p.Capacity()
	})
	if cost > 100 {
		t.Errorf("%v allocations for one /32", cost)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`["2001:db8::/64"]`, `[{"name":"a","cidr":"10.0.0.0/24","gateway":"10.0.0.9","reserved":["10.0.0.4-10.0.0.8","10.0.0.64/26"]}]`,
		`["::ffff:10.0.0.0/120"]`, `["0.0.0.0/0","::/0"]`, `[{"cidr":"10.0.0.0/31","reserved":["10.0.0.0-2001:db8::"]}]`, `[null]`, `["10.0.0.0/24","10.0.0.0/25"]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		pools, err := parseJSON(in)
		if err != nil {
			return
		}
		for i, p := range pools {
			if a, ok := p.Next(netip.Addr{}); ok != (p.Capacity() > 0) || ok && (p.SetAside(a) || !p.Contains(a)) {
				t.Errorf("%s: Next = %s, %v with capacity %d", draw(p), a, ok, p.Capacity())
			}
			for _, q := range pools[:i] {
				if p.Prefix.Overlaps(q.Prefix) {
					t.Errorf("%s overlaps %s", draw(p), draw(q))
				}
			}
		}
	})
}
