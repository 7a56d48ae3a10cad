// SPDX-License-Identifier: Apache-2.0

package allocate

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

func TestSequentialIPv6(t *testing.T) {
	b := newBench(t, `[{"cidr": "2001:db8::/64", "allocator": "sequential", "reserved": ["2001:db8::3"]}]`)
	b.draws = []uint64{0x42}
	b.get("2001:db8::2", "a")
	b.get("2001:db8::4", "b")
	b.del("a")
	b.now += time.Hour // ::2 is cold, and still late
	b.get("2001:db8::5", "c")
	b.get("2001:db8::1:0", "d", "cidr6=2001:db8::1:0/112")
	b.get("2001:db8::6", "e")
}

func TestRandomIPv4(t *testing.T) {
	b := newBench(t, `[{"cidr": "10.0.0.0/16", "allocator": "random"}]`)
	b.draws = []uint64{0, 0x1234}
	b.get("10.0.18.52", "a")
	b.draws = []uint64{0, 0x1234, 0, 0x0a00_0042}
	b.get("10.0.0.66", "b")
	b.draws = []uint64{0, 1}
	b.get("10.0.0.2", "c") // the gateway is not given: the search begins there
	b.del("a")
	b.draws = []uint64{0, 0x1234, 0, 7}
	b.get("10.0.0.7", "d") // what is cooling is not given either
}

// TestSequentialIPAlgo: the hashes say where, and there the lowest that is free is given.
func TestSequentialIPAlgo(t *testing.T) {
	b := newBench(t, `[{"cidr": "2001:db8::/64", "allocator": "sequential"}]`)
	b.get("2001:db8::ebad:a516:8620:0", "a", "ip-algo=namespace", "ipv4=false")
	b.get("2001:db8::ebad:a516:8620:1", "b", "ip-algo=namespace")
	b.get("2001:db8::2", "c")
}

// say allocates for a container with the answer of an extension that was asked some time ago.
func (b *bench) say(answer string, ago time.Duration, container string, annotations ...string) ([]netip.Addr, error) {
	b.t.Helper()
	plan, err := NewPlan(Wish{Attachment: attachment(container), Node: b.node, Annotations: annotationsOf(annotations)})
	if err != nil {
		b.t.Fatal(err)
	}
	var alloc store.Allocation
	allocate := func() error {
		return b.store.Update(func(tx *store.Tx) (err error) {
			alloc, err = b.allocator().Allocate(tx, plan, store.Allocation{Attachment: attachment(container)})
			return err
		})
	}
	err = allocate()
	need := (*NeedError)(nil)
	if !errors.As(err, &need) {
		b.t.Fatalf("without an answer: %v, %v", alloc.Addresses, err)
	}
	addr, _ := netip.ParseAddr(answer)
	plan = plan.Answered(need.Need, addr, b.now-ago)
	err = allocate()
	return alloc.Addresses, err
}

const foreign = `[{"name": "shared", "cidr": "2001:db8::/64", "allocator": "sticky", "reserved": ["2001:db8::100"]}, "2001:db8:1::/64", "10.0.0.0/24"]`

func TestAnExtensionsAnswerIsTaken(t *testing.T) {
	b := newBench(t, foreign)
	b.draws = []uint64{0, 9}
	got, err := b.say("2001:db8::7", time.Second, "a")
	if diff := cmp.Diff("[2001:db8::7 10.0.0.2]", sprint(got)); diff != "" || err != nil {
		t.Errorf("%s%v", diff, err)
	}
	// The pool that comes next, where it has none left.
	got, err = b.say("", time.Second, "b")
	if diff := cmp.Diff("[2001:db8:1::9 10.0.0.3]", sprint(got)); diff != "" || err != nil {
		t.Errorf("%s%v", diff, err)
	}
	// What is released is the extension's to give, cooling or not.
	b.del("a")
	if got, err := b.say("2001:db8::7", time.Second, "c"); err != nil {
		t.Errorf("what is cooling: %v, %v", got, err)
	}
	b.draws = []uint64{0, 10}
	b.get("2001:db8:1::a 10.0.0.5", "d", "cidr6=2001:db8:1::/64")
}

func sprint(addrs []netip.Addr) string {
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return "[" + strings.Join(texts, " ") + "]"
}

func TestAnExtensionsAnswerIsRefused(t *testing.T) {
	b := newBench(t, foreign)
	if _, err := b.say("2001:db8::7", 0, "a"); err != nil {
		t.Fatal(err)
	}
	_, err := b.say("2001:db8::7", 0, "b")
	if !isTaken(err) || !strings.Contains(err.Error(), "allocator sticky") {
		t.Errorf("what another attachment has: %v", err)
	}
	_, err = b.say("2001:db8::8", answerLife+time.Second, "b")
	if need := (*NeedError)(nil); !errors.As(err, &need) {
		t.Errorf("an answer of long ago: %v", err)
	}
	_, err = b.say("", 0, "b", "cidr6=2001:db8::/80")
	if want := "allocate IPv6 from 2001:db8::/80 of pool shared (allocator sticky): exhausted"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestExhaustedExtensionLeavesTheRest: addresses that an extension's pool had are not given by flock-ipam itself.
func TestExhaustedExtensionLeavesTheRest(t *testing.T) {
	b := newBench(t, `[{"name": "shared", "cidr": "10.1.0.0/24", "allocator": "sticky"}, "10.0.0.0/30"]`)
	if _, err := b.say("10.1.0.7", 0, "a"); err != nil {
		t.Fatal(err)
	}
	b.del("a")
	got, err := b.say("", 0, "b")
	if sprint(got) != "[10.0.0.2]" || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = b.say("", 0, "c")
	if !errors.Is(err, ErrExhausted) {
		t.Errorf("got %v", err)
	}
}

// TestCoolingBeforeAnExtension: what cools in the pools before an extension's is given before the extension is asked.
func TestCoolingBeforeAnExtension(t *testing.T) {
	b := newBench(t, `["10.0.0.0/30", {"name": "shared", "cidr": "10.1.0.0/24", "allocator": "sticky"}, "10.0.1.0/29"]`)
	b.get("10.0.0.2", "a")
	b.del("a")
	b.get("10.0.0.2", "b")
	b.get("ask allocator sticky for an address of pool shared", "c")
	if _, err := b.say("10.1.0.7", 0, "c"); err != nil {
		t.Error(err)
	}
	if got, err := b.say("", 0, "d"); sprint(got) != "[10.0.1.2]" || err != nil {
		t.Errorf("behind an extension that has none: %v, %v", got, err)
	}
}

// TestBehind: who asks an extension is told whether a pod came to it for want of anything else.
func TestBehind(t *testing.T) {
	for pools, want := range map[string]bool{
		`["10.0.0.0/30", {"cidr": "10.1.0.0/24", "allocator": "a"}]`:                                            true,
		`[{"cidr": "10.1.0.0/24", "allocator": "a"}, "10.0.0.0/30"]`:                                            false,
		`["2001:db8::/64", {"cidr": "10.1.0.0/24", "allocator": "a"}]`:                                          false,
		`[{"cidr": "10.1.0.0/24", "allocator": "a"}, {"cidr": "10.2.0.0/24", "allocator": "b"}, "10.0.0.0/30"]`: false,
	} {
		b := newBench(t, pools)
		if pools[1] == '"' {
			_, _ = b.add("first")
		}
		_, err := b.add("x")
		need := (*NeedError)(nil)
		if !errors.As(err, &need) || need.Behind != want {
			t.Errorf("%s: %v, %+v", pools, err, need)
		}
	}
}

// TestExtensionBehindAnother: nothing of the first one's is given, though it cools, and the next has the last word as well.
func TestExtensionBehindAnother(t *testing.T) {
	b := newBench(t, `[{"cidr": "10.1.0.0/24", "allocator": "a"}, {"cidr": "10.2.0.0/24", "allocator": "b"}]`)
	if _, err := b.say("10.1.0.7", 0, "x"); err != nil {
		t.Fatal(err)
	}
	b.del("x")
	got, err := b.say("", 0, "y")
	if need := (*NeedError)(nil); !errors.As(err, &need) || need.Allocator != "b" || need.Behind {
		t.Errorf("%v, %v, %+v", got, err, need)
	}
}

func TestExtensions(t *testing.T) {
	for pools, want := range map[string][]string{
		foreign: {"sticky"},
		`[{"cidr": "10.0.0.0/24", "allocator": "a"}, {"cidr": "10.1.0.0/24", "allocator": "b"}, "2001:db8::/64"]`: {"a", "b"},
		`[{"cidr": "10.0.0.0/24", "allocator": "a"}, {"cidr": "2001:db8::/64", "allocator": "a"}]`:                {"a"},
		`["10.0.0.0/24", {"cidr": "10.1.0.0/24", "allocator": "b"}]`:                                              nil,
		`[{"cidr": "10.0.0.0/24", "allocator": "random"}]`:                                                        nil,
	} {
		if diff := cmp.Diff(want, newBench(t, pools).plan().Extensions()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", pools, diff)
		}
	}
}

// TestTryWithExtensions: what pods in general get is no more than an extension that stands first gives, while it is up, and
// what the ordinary pools have.
func TestTryWithExtensions(t *testing.T) {
	down := map[string]error{"away": errors.New("away is not up")}
	for _, test := range []struct{ pools, full, cooling string }{
		{`["10.0.0.0/30"]`, "allocate IPv4 from pool 10.0.0.0/30: exhausted", ""},
		{`["10.0.0.0/30", {"cidr": "10.1.0.0/24", "allocator": "sticky"}]`, "allocate IPv4 from pool 10.0.0.0/30: exhausted", ""},
		{`["10.0.0.0/30", {"cidr": "10.1.0.0/24", "allocator": "sticky"}, "10.0.1.0/24"]`, "", ""},
		{`[{"cidr": "10.1.0.0/24", "allocator": "sticky"}, "10.0.0.0/30"]`, "", ""},
		{`[{"cidr": "10.1.0.0/24", "allocator": "away"}, "10.0.0.0/30"]`, "away is not up\nallocate IPv4 from pool 10.0.0.0/30: exhausted", ""},
		{`[{"cidr": "10.1.0.0/24", "allocator": "away"}, {"cidr": "10.2.0.0/24", "allocator": "sticky"}, "10.0.0.0/30"]`, "", ""},
		{`[{"cidr": "10.1.0.0/24", "allocator": "away"}]`, "away is not up", "away is not up"},
		{`[{"cidr": "2001:db8::/64", "allocator": "sticky"}, "10.0.0.0/30"]`, "allocate IPv4 from pool 10.0.0.0/30: exhausted", ""},
	} {
		b := newBench(t, test.pools)
		try := func() string {
			err := b.store.View(func(tx *store.Tx) error { return b.allocator().Try(tx, b.plan(), down) })
			if err == nil {
				return ""
			}
			return err.Error()
		}
		one := store.Allocation{Attachment: attachment("a"), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
		if err := b.store.Update(func(tx *store.Tx) error { return tx.Put(one) }); err != nil {
			t.Fatal(err)
		}
		full := try()
		b.del("a")
		if diff := cmp.Diff([]string{test.full, test.cooling}, []string{full, try()}); diff != "" {
			t.Errorf("%s, full and then cooling (-want +got):\n%s", test.pools, diff)
		}
	}
}

// plan is what a pod gets that asks for nothing.
func (b *bench) plan() Plan {
	b.t.Helper()
	plan, err := NewPlan(Wish{Node: b.node})
	if err != nil {
		b.t.Fatal(err)
	}
	return plan
}

// TestDefaultIPAlgo: what the node asks for wherever it can be had leaves an extension its own way.
func TestDefaultIPAlgo(t *testing.T) {
	b := newBench(t, foreign)
	b.node.Defaults.IPAlgo = []annotation.Field{annotation.Namespace}
	plan, err := NewPlan(Wish{Node: b.node, Pod: cni.Pod{Namespace: "default", Name: "web-0"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "IPv6: from pool shared (allocator sticky), 2001:db8:1:0:ebad:a516:8620:0/112 of pool 2001:db8:1::/64; IPv4: from pool 10.0.0.0/24"
	if diff := cmp.Diff(want, draw(plan)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWishesForAnExtensionsPool(t *testing.T) {
	for _, test := range []struct{ asked, want string }{
		{"addresses=2001:db8::100", ""},
		{"anycast=2001:db8::100", ""},
		{"cidr6=2001:db8::/80", ""},
		{"ip-algo=namespace,pod", `is not for pool shared, whose addresses allocator sticky picks: ask for another pool with flock.fritzlab.net/cidr6`},
		{"addresses=2001:db8::7", `2001:db8::7 lies in pool shared, where allocator sticky may give it to another pod: reserve it there`},
		{"anycast=2001:db8::7", `2001:db8::7 lies in pool shared, where another pod may get it: reserve it there`},
	} {
		b := newBench(t, `[{"name": "shared", "cidr": "2001:db8::/64", "allocator": "sticky", "reserved": ["2001:db8::100"]}]`)
		plan, err := NewPlan(Wish{Node: b.node, Annotations: annotationsOf([]string{test.asked})})
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %s, %v; want %q", test.asked, draw(plan), err, test.want)
		}
	}
}
