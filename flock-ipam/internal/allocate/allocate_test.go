// SPDX-License-Identifier: Apache-2.0

package allocate

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

func TestIPv4GoesOnAfterTheLast(t *testing.T) {
	b := newBench(t, `["10.0.0.0/29"]`) // .2 to .6
	b.get("10.0.0.2", "a")
	b.get("10.0.0.3", "b")
	b.get("10.0.0.4", "c")
	b.del("a")
	b.now += time.Hour // .2 is cold, and still late
	b.get("10.0.0.5", "d")
	b.get("10.0.0.6", "e")
	b.get("10.0.0.2", "f")
	b.get("allocate IPv4 from pool 10.0.0.0/29: exhausted", "g")
}

func TestIPv4LeavesOutReserved(t *testing.T) {
	b := newBench(t, `[{"cidr": "10.0.0.0/8", "gateway": "10.0.0.2", "reserved": ["10.0.0.4-10.127.255.255"]}]`)
	b.get("10.0.0.1", "a")
	b.get("10.0.0.3", "b")
	b.get("10.128.0.0", "c")
}

// TestReservedLater reserves an address that a pod has already.
func TestReservedLater(t *testing.T) {
	b := newBench(t, `["10.0.0.0/29"]`)
	b.get("10.0.0.2", "a")
	b.get("10.0.0.3", "b")
	b.node.Pools = parsePools(t, `[{"cidr": "10.0.0.0/29", "reserved": ["10.0.0.3-10.0.0.4"]}]`)
	b.get("10.0.0.5", "c")
	b.get("10.0.0.6", "d")
	b.del("b")
	b.get("allocate IPv4 from pool 10.0.0.0/29: exhausted", "e")
}

func TestCoolDown(t *testing.T) {
	b := newBench(t, `["10.0.0.0/29"]`)
	for _, container := range []string{"a", "b", "c", "d", "e"} {
		if _, err := b.add(container); err != nil {
			t.Fatal(err)
		}
	}
	b.del("c") // .4
	b.now += time.Second
	b.del("a") // .2
	b.now += time.Second
	b.del("d") // .5
	b.now += 2*time.Minute - 2*time.Second
	b.get("10.0.0.4", "f") // the one that is cold
	b.get("10.0.0.2", "g") // none is: the one released longest ago
	b.get("10.0.0.5", "h")
	b.get("allocate IPv4 from pool 10.0.0.0/29: exhausted", "i")
}

// TestCoolDownPrefersAnotherPool: a cooling address is given only when no pool has another one.
func TestCoolDownPrefersAnotherPool(t *testing.T) {
	b := newBench(t, `["10.0.0.0/30", "10.1.0.0/30"]`)
	b.get("10.0.0.2", "a")
	b.del("a")
	b.get("10.1.0.2", "b")
	b.get("10.0.0.2", "c")
}

func TestWithoutCoolDown(t *testing.T) {
	b := newBench(t, `["2001:db8::/126"]`)
	b.node.CoolDown = 0
	b.get("2001:db8::2", "a")
	b.del("a")
	b.get("2001:db8::2", "b")
}

// TestFreshBoot: nothing is cooling on a node that has just booted, however early it is.
func TestFreshBoot(t *testing.T) {
	b := newBench(t, `["10.0.0.0/29", "2001:db8::/64"]`)
	b.now = time.Second
	b.draws = []uint64{0, 7, 0, 8} // the first is as good as any
	b.get("2001:db8::7 10.0.0.2", "a")
}

func TestIPv6Random(t *testing.T) {
	b := newBench(t, `["2001:db8:0:1::/64"]`)
	b.draws = []uint64{0xffff_ffff_ffff_ffff, 0x1234_5678_9abc_def0}
	b.get("2001:db8:0:1:1234:5678:9abc:def0", "a")
	// The same draw again is taken, and the one after it is not.
	b.draws = []uint64{0, 0x1234_5678_9abc_def0, 0, 0x42}
	b.get("2001:db8:0:1::42", "b")
	// Nothing but the gateway is ever drawn: the search begins there.
	b.draws = []uint64{0, 1, 0, 1}
	for range 2 * tries {
		b.draws = append(b.draws, uint64(len(b.draws)%2))
	}
	b.draws = append(b.draws, 1)
	b.get("2001:db8:0:1::2", "c")
}

func TestIPv6CoolDown(t *testing.T) {
	b := newBench(t, `["2001:db8::/64"]`)
	b.draws = []uint64{0, 7}
	b.get("2001:db8::7", "a")
	b.del("a")
	b.draws = []uint64{7}
	b.get("2001:db8::8", "b")
	b.now += 2 * time.Minute
	b.get("2001:db8::7", "c")
}

func TestTinyPools(t *testing.T) {
	b := newBench(t, `["2001:db8::/126"]`)
	b.get("2001:db8::2", "a")
	b.get("2001:db8::3", "b")
	b.get("allocate IPv6 from pool 2001:db8::/126: exhausted", "c")

	b = newBench(t, `["2001:db8::/127", "2001:db8::7/128", "10.0.0.0/31"]`)
	b.get("2001:db8:: 10.0.0.0", "a")
	b.get("2001:db8::1 10.0.0.1", "b")
	b.get("allocate IPv4 from pool 10.0.0.0/31: exhausted", "c")
	b.get("2001:db8::7", "c", "ipv4=false")
}

// TestNearlyFull fills a pool to the last address with randomness that never helps.
func TestNearlyFull(t *testing.T) {
	b := newBench(t, `["2001:db8::/120"]`)
	b.draws = []uint64{0x80}
	seen := map[netip.Addr]bool{}
	for i := range 254 {
		addrs, err := b.add(fmt.Sprint(i))
		if err != nil || len(addrs) != 1 || seen[addrs[0]] {
			t.Fatalf("add number %d: %s, %v", i, addrs, err)
		}
		seen[addrs[0]] = true
	}
	b.get("allocate IPv6 from pool 2001:db8::/120: exhausted", "last")
	b.del("77")
	if _, err := b.add("last"); err != nil {
		t.Error(err)
	}
}

func TestPoolsInOrder(t *testing.T) {
	b := newBench(t, `["10.0.0.0/30", "2001:db8::/126", "10.1.0.0/30", "10.2.0.0/30"]`)
	b.get("2001:db8::2 10.0.0.2", "a")
	b.get("2001:db8::3 10.1.0.2", "b")
	b.get("10.2.0.2", "c", "ipv6=false")
	b.get("allocate IPv4 from pool 10.0.0.0/30, pool 10.1.0.0/30, pool 10.2.0.0/30: exhausted", "d", "ipv6=false")
}

func TestCIDR(t *testing.T) {
	b := newBench(t, `["2001:db8::/64", "10.0.0.0/24", "10.1.0.0/24"]`)
	b.get("2001:db8:0:0:8000:: 10.1.0.64", "a", "cidr6=2001:db8:0:0:8000::/65", "cidr4=10.1.0.64/31")
	b.get("10.1.0.65", "b", "ipv6=false", "cidr4=10.1.0.64/31")
	b.get("allocate IPv4 from 10.1.0.64/31 of pool 10.1.0.0/24: exhausted", "c", "ipv6=false", "cidr4=10.1.0.64/31")
	b.get("10.0.0.2", "d", "ipv6=false")
	// The pool's own edges stay set aside in its parts.
	b.get("10.0.0.3", "e", "ipv6=false", "cidr4=10.0.0.0/30")
	b.get("10.0.0.6", "f", "ipv6=false", "cidr4=10.0.0.6/32")
}

func TestIPAlgo(t *testing.T) {
	b := newBench(t, `["2001:db8:0:1::/64"]`)
	b.draws = []uint64{0, 0xffff_ffff_ffff_9c07}
	plan, err := NewPlan(Wish{
		Attachment: attachment("a"), Node: b.node, Pod: cni.Pod{Namespace: "default", Name: "web-0"},
		Annotations: annotationsOf([]string{"ip-algo=namespace,pod"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	var alloc store.Allocation
	err = b.store.Update(func(tx *store.Tx) (err error) {
		alloc, err = b.allocator().Allocate(tx, plan, store.Allocation{Attachment: attachment("a")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// The address that docs/ip-algo.md shows.
	if got, want := fmt.Sprint(alloc.Addresses), "[2001:db8:0:1:ebad:a566:6fc1:9c07]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFixed(t *testing.T) {
	const key = "flock.fritzlab.net/addresses"
	b := newBench(t, `["2001:db8::/64", {"name": "v4", "cidr": "10.0.0.0/24", "reserved": ["10.0.0.9"]}]`)
	b.get("2001:db8::a 10.0.0.77", "a", "addresses=10.0.0.77,2001:db8::a") // inside
	b.get("2001:db8:f::1 2001:db8:f::2 10.9.0.1", "b", "addresses=2001:db8:f::1,10.9.0.1,2001:db8:f::2")
	b.get(`read annotation "`+key+`" with value "10.0.0.77": address 10.0.0.77 belongs to attachment flock/a/eth0 of pod default/a`,
		"c", "addresses=10.0.0.77", "ipv6=false")
	b.get(`read annotation "`+key+`" with value "10.9.0.1": address 10.9.0.1 belongs to attachment flock/b/eth0 of pod default/b`,
		"c", "addresses=10.9.0.1", "ipv6=false")
	b.get(`read annotation "`+key+`" with value "10.0.0.9": 10.0.0.9 is reserved in pool v4`, "c", "addresses=10.0.0.9")
	b.get(`read annotation "`+key+`" with value "2001:db8::1": 2001:db8::1 is reserved in pool 2001:db8::/64`, "c", "addresses=2001:db8::1")
	b.get(`read annotation "`+key+`" with value "10.0.0.255": 10.0.0.255 is reserved in pool v4`, "c", "addresses=10.0.0.255")
	// A pod that comes again takes its address although it is cooling.
	b.del("a")
	b.get("2001:db8::a 10.0.0.77", "c", "addresses=10.0.0.77,2001:db8::a")
	// Only the named family is fixed.
	b.draws = []uint64{0, 0x99}
	b.get("2001:db8::99 10.0.0.78", "d", "addresses=10.0.0.78")
	// Allocation goes around fixed addresses.
	b.get("10.0.0.76", "e", "ipv6=false", "cidr4=10.0.0.76/30")
	b.get("10.0.0.79", "f", "ipv6=false", "cidr4=10.0.0.76/30")
}

func TestFixedFailsWhole(t *testing.T) {
	b := newBench(t, `["10.0.0.0/24"]`)
	b.get("10.0.0.50", "a", "addresses=10.0.0.50")
	if _, err := b.add("b", "addresses=10.0.0.49,10.0.0.50"); !isTaken(err) {
		t.Fatalf("got %v, want a TakenError", err)
	}
	b.get("10.0.0.49", "c", "addresses=10.0.0.49")
}

func isTaken(err error) bool {
	var taken *store.TakenError
	return errors.As(err, &taken)
}

func TestAnycast(t *testing.T) {
	const key = "flock.fritzlab.net/anycast"
	b := newBench(t, `["2001:db8::/126", {"name": "v4", "cidr": "10.0.0.0/24", "reserved": ["10.0.0.9"]}]`)
	b.get("2001:db8::2 10.0.0.2", "a", "anycast=192.0.2.1,2001:db8:f::1,10.0.0.9")
	b.get("2001:db8::3 10.0.0.3", "b", "anycast=192.0.2.1") // shared
	b.get(`read annotation "`+key+`" with value "10.0.0.10": 10.0.0.10 lies in pool v4, where another pod may get it: reserve it there`,
		"c", "anycast=10.0.0.10", "ipv6=false")
	b.get(`read annotation "flock.fritzlab.net/addresses" with value "192.0.2.1": address 192.0.2.1 belongs to attachment flock/a/eth0 of pod default/a`,
		"c", "addresses=192.0.2.1", "ipv6=false")
	b.get("192.0.2.7", "d", "addresses=192.0.2.7", "ipv6=false")
	b.get(`read annotation "`+key+`" with value "192.0.2.7": address 192.0.2.7 belongs to attachment flock/d/eth0 of pod default/d`,
		"e", "anycast=192.0.2.7", "ipv6=false")
}

// TestGarbageDoesNotGrow: what was released long ago is forgotten.
func TestGarbageDoesNotGrow(t *testing.T) {
	b := newBench(t, `["2001:db8::/64"]`)
	for i := range 300 {
		b.draws = []uint64{0, uint64(i) + 2}
		b.now += time.Minute
		if _, err := b.add(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		b.del(fmt.Sprint(i))
	}
	known := 0
	err := b.store.View(func(tx *store.Tx) error {
		return tx.Scan(b.node.Pools[0].Prefix, b.node.Pools[0].Prefix.Addr(), func(netip.Addr, store.Holder) bool {
			known++
			return true
		})
	})
	if err != nil || known > 5 {
		t.Errorf("%d addresses are remembered, %v", known, err)
	}
}

func TestTry(t *testing.T) {
	b := newBench(t, `["10.0.0.0/30"]`)
	try := func() error {
		plan, err := NewPlan(Wish{Node: b.node})
		if err != nil {
			t.Fatal(err)
		}
		return b.store.View(func(tx *store.Tx) error { return b.allocator().Try(tx, plan, nil) })
	}
	if err := try(); err != nil {
		t.Errorf("empty: %v", err)
	}
	b.get("10.0.0.2", "a")
	if err := try(); !errors.Is(err, ErrExhausted) {
		t.Errorf("full: %v, want ErrExhausted", err)
	}
	b.del("a")
	if err := try(); err != nil {
		t.Errorf("cooling: %v", err)
	}
}

// FuzzChurn adds and deletes in any order, over pools of any kind: no address has two owners, none is
// set aside, and exhaustion is reported only when everything is taken.
func FuzzChurn(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0x81, 3, 4, 5, 0x82, 6})
	f.Add([]byte{9, 9, 0x89, 9, 8, 7, 0x88, 0x87, 6, 5, 4, 3, 2, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		b := newBench(t, `["10.0.0.0/29", "2001:db8::/125", {"cidr": "10.0.1.0/29", "reserved": ["10.0.1.3"]}]`)
		owners, has := map[netip.Addr]string{}, map[string][]netip.Addr{}
		for i, step := range steps[:min(len(steps), 200)] {
			b.now += time.Duration(step) * time.Second
			b.draws = []uint64{uint64(i), uint64(step)}
			container := fmt.Sprint(step & 0xf)
			if step&0x80 != 0 {
				b.del(container)
				for _, addr := range has[container] {
					delete(owners, addr)
				}
				delete(has, container)
				continue
			}
			if has[container] != nil {
				continue
			}
			addrs, err := b.add(container)
			if err != nil {
				if !errors.Is(err, ErrExhausted) || len(has) < 6 {
					t.Fatalf("add with %d pods: %v", len(has), err)
				}
				continue
			}
			for _, addr := range addrs {
				home, ok := pool.Find(b.node.Pools, addr)
				if owners[addr] != "" || !ok || home.SetAside(addr) {
					t.Fatalf("%s got %s, which %q has", container, addr, owners[addr])
				}
				owners[addr] = container
			}
			has[container] = addrs
		}
	})
}
