// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/plugins/allocator"
)

func claimOf(prefix string, aside ...string) claim {
	p := netip.MustParsePrefix(prefix)
	c := claim{owner: v1alpha1.StickyOwner{Namespace: "ns", StatefulSet: "db"}}
	c.Pool, c.Within = allocator.Pool{Name: "sticky", Prefix: p}, p
	for _, r := range aside {
		first, last, _ := strings.Cut(r, "-")
		c.Pool.Aside = append(c.Pool.Aside, allocator.Range{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)})
	}
	return c
}

// Where a pod's address is sought first is part of what users see: a StickyAddress that is deleted comes back the same.
func TestPreferred(t *testing.T) {
	for prefix, want := range map[string]string{
		"2001:db8::/64": "2001:db8::7b4e:cc4d:faf6:3cfb", "2001:db8::/125": "2001:db8::3", "10.1.0.0/16": "10.1.113.22",
		"10.1.0.0/30": "10.1.0.2", "10.1.2.3/32": "10.1.2.3", "2001:db8::7/128": "2001:db8::7",
	} {
		if got := claimOf(prefix).preferred(); got.String() != want {
			t.Errorf("in %s: %s, want %s", prefix, got, want)
		}
	}
	seen := map[netip.Addr]string{}
	c := claimOf("2001:db8::/64")
	for i := range 1000 {
		c.owner.Ordinal = int32(i)
		if other, twice := seen[c.preferred()]; twice {
			t.Errorf("db-%d and %s prefer %s", i, other, c.preferred())
		}
		seen[c.preferred()] = title(c.owner)
	}
}

// TestNext wants every address of small pools, and of pools of which next to nothing is not set aside.
func TestNext(t *testing.T) {
	for _, test := range []struct {
		claim claim
		want  int
	}{
		{claimOf("10.0.0.0/28"), 16},
		{claimOf("10.0.0.0/28", "10.0.0.0-10.0.0.1", "10.0.0.15-10.0.0.15"), 13},
		{claimOf("10.0.0.0/28", "10.0.0.0-10.0.0.6", "10.0.0.7-10.0.0.15"), 0},
		{claimOf("10.0.0.4/32"), 1},
		{claimOf("255.255.255.252/30", "255.255.255.254-255.255.255.255"), 2},
		{claimOf("2001:db8::/64", "2001:db8::-2001:db8::ffff:0:0:0", "2001:db8::ffff:0:0:2-2001:db8::ffff:ffff:ffff:ffff"), 1},
		{claimOf("ffff::/16", "ffff::-ffff::7", "ffff::9-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 1},
	} {
		for ordinal := range int32(20) {
			c, taken := test.claim, map[netip.Addr]bool{}
			c.owner.Ordinal = ordinal
			for {
				addr, ok := c.next(taken)
				if !ok {
					break
				}
				if taken[addr] || !c.Within.Contains(addr) || c.Pool.SetAside(addr) {
					t.Fatalf("%s of %s, after %v", addr, c.Within, taken)
				}
				taken[addr] = true
			}
			if len(taken) != test.want {
				t.Errorf("%s without %v: %d addresses, want %d", c.Within, c.Pool.Aside, len(taken), test.want)
			}
		}
	}
}

func TestOnlyPartOfThePool(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	pool := s.pool(false, 64)
	pool.Aside = []allocator.Range{{First: pool.Prefix.Addr(), Last: pool.Prefix.Addr().Next()}}
	within := netip.PrefixFrom(pool.Prefix.Addr(), 126)
	given := map[netip.Addr]bool{}
	for i := range 2 {
		r := m.request(fmt.Sprint("db-", i), pool)
		r.Within = within
		addr := m.give(r)
		if given[addr] || !within.Contains(addr) || pool.SetAside(addr) {
			t.Errorf("db-%d gets %s", i, addr)
		}
		given[addr] = true
	}
	r := m.request("db-2", pool)
	r.Within = within
	if _, err := m.try(r, shortly); !errors.Is(err, allocator.ErrExhausted) {
		t.Errorf("the third of two: %v", err)
	}
}

// TestReclaim fills a pool of 8 and wants back what is of no use, and nothing else.
func TestReclaim(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	pool := s.pool(true, 29)
	s.set("db", 5, 2)
	addrs, sandboxes := map[string]netip.Addr{}, map[string]allocator.Attachment{}
	for _, pod := range []string{"db-4", "db-5", "db-6", "db-7", "gone-0", "gone-1", "gone-2", "gone-3"} {
		r := m.request(pod, pool)
		addrs[pod], sandboxes[pod] = m.give(r), r.Attachment
	}
	exhausted := func(pod string) {
		t.Helper()
		if _, err := m.try(m.request(pod, pool), shortly); !errors.Is(err, allocator.ErrExhausted) || errors.Is(err, allocator.ErrRefused) {
			t.Fatalf("%s: %v, want exhausted", pod, err)
		}
	}
	exhausted("new-0")
	for _, pod := range []string{"db-5", "db-6"} {
		m.end(sandboxes[pod])
	}
	exhausted("new-0")
	// Released in this order; a second apart, as the API's times are.
	for i, pod := range []string{"gone-2", "db-7", "db-4"} {
		m.end(sandboxes[pod])
		o := s.object(addrs[pod])
		o.Spec.Released.Time = o.Spec.Released.Add(seconds(i - 10))
		must(t, s.c.update(t.Context(), o))
	}
	for i, pod := range []string{"gone-2", "db-7", "db-4"} {
		if got := m.give(m.request(fmt.Sprint("new-", i), pool)); got != addrs[pod] {
			t.Errorf("the pod gets %s, want that of %s, %s", got, pod, addrs[pod])
		}
	}
	exhausted("new-3")
	for _, pod := range []string{"db-5", "db-6"} {
		if got := m.give(m.request(pod, pool)); got != addrs[pod] {
			t.Errorf("%s gets %s, and had %s", pod, got, addrs[pod])
		}
	}
}

// TestReclaimFromHolders fills a pool of 8 with pods of which most are wanted no more, on machines of every sort.
func TestReclaimFromHolders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pool := s.pool(true, 29)
	s.set("db", 0, 2)
	s.set("new", 0, 7)
	off, rebooted, silent, lost, up := s.node("off"), s.node("rebooted"), s.node("silent"), s.node("lost"), s.node("up")
	addrs, sandboxes := map[string]netip.Addr{}, map[string]allocator.Attachment{}
	for _, on := range []struct {
		*machine
		pods []string
	}{{off, []string{"gone-0", "db-0"}}, {rebooted, []string{"gone-1"}}, {silent, []string{"gone-2", "gone-3"}},
		{lost, []string{"gone-4"}}, {up, []string{"gone-5", "db-1"}}} {
		for _, pod := range on.pods {
			r := on.request(pod, pool)
			addrs[pod], sandboxes[pod] = on.give(r), r.Attachment
		}
	}
	for _, m := range []*machine{off, rebooted, silent} {
		m.setReady(corev1.ConditionUnknown)
	}
	must(t, s.c.nodes.Delete(t.Context(), lost.name, metav1.DeleteOptions{}))
	exhausted := func(pod string, words ...string) {
		t.Helper()
		up.refuse(up.request(pod, pool), append(words, allocator.ErrExhausted.Error())...)
	}
	gets := func(pod string, had ...string) {
		t.Helper()
		got := up.give(up.request(pod, pool))
		if !slices.ContainsFunc(had, func(h string) bool { return addrs[h] == got }) {
			t.Errorf("%s gets %s, want that of %v of %v", pod, got, had, addrs)
		}
	}
	exhausted("new-0", "but for 6 ", "2 of them on node "+silent.name, "kubectl taint node "+silent.name+" node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
	off.taint()
	gets("new-0", "gone-0")
	rebooted.reboot()
	gets("new-1", "gone-1")
	exhausted("new-2", "but for 4 ", "2 of them on node "+silent.name)
	for _, pod := range []string{"db-0", "db-1", "gone-2", "gone-3", "gone-4", "gone-5"} {
		s.holds(addrs[pod], sandboxes[pod])
	}
	silent.taint()
	gets("new-2", "gone-2", "gone-3")
	gets("new-3", "gone-2", "gone-3")
	up.end(sandboxes["gone-5"])
	gets("new-4", "gone-5")
	exhausted("new-5", "but for 1 ", "1 of them on node "+lost.name, "kubectl patch sticky "+s.object(addrs["gone-4"]).Name)
	s.Kubectl(t, "patch", "sticky", s.object(addrs["gone-4"]).Name, "--type=json", "-p", `[{"op": "remove", "path": "/spec/holder"}]`)
	gets("new-5", "gone-4")
	exhausted("new-6", "every address of "+pool.Prefix.String()+" belongs to a pod that its StatefulSet wants")
}

// Who became the holder since the list remains it.
func TestReclaimOnlyFromTheHolderThatWasSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	old, up := s.node("old"), s.node("up")
	m, w := s.wired("one")
	pool := s.pool(true, 32)
	addr := old.give(old.request("db-0", pool))
	old.reboot()
	next := up.request("db-0", pool)
	w.before(http.MethodPut, func() { up.give(next) })
	if got, err := m.try(m.request("new-0", pool), shortly); !errors.Is(err, allocator.ErrExhausted) {
		t.Errorf("new-0 gets %s, %v, want exhausted", got, err)
	}
	s.holds(addr, next.Attachment)
}

func TestAssignedByHand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	pool := s.pool(false, 64)
	want := netip.MustParseAddr(pool.Prefix.Addr().String() + "7")
	s.assign(pool, want, "db-0")
	r := m.request("db-0", pool)
	if got := m.give(r); got != want {
		t.Fatalf("db-0 gets %s, and is assigned %s", got, want)
	}
	// A move: the pod first, then its address.
	other := want.Next()
	m.end(r.Attachment)
	s.Kubectl(t, "delete", "stickyaddress", s.object(want).Name)
	s.assign(pool, other, "db-0")
	if got := m.give(m.request("db-0", pool)); got != other {
		t.Errorf("db-0 gets %s, and is assigned %s", got, other)
	}
}

// A pod that has two addresses keeps the one that is in use, or else the older.
func TestTwoOfOnePod(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	pool := s.pool(true, 24)
	a, b, c := pool.Prefix.Addr(), pool.Prefix.Addr().Next(), pool.Prefix.Addr().Next().Next()
	s.assign(pool, b, "db-0")
	r := m.request("db-0", pool)
	m.give(r)
	s.assign(pool, a, "db-0")
	if got := m.give(r); got != b {
		t.Errorf("db-0 gets %s, and holds %s", got, b)
	}
	if all := s.all(pool); len(all) != 1 {
		t.Errorf("db-0 has %v", all)
	}
	// By hand alone can two have a holder.
	s.assign(pool, c, "db-0")
	o := s.object(c)
	o.Spec.Holder = s.object(b).Spec.Holder
	o.Spec.Holder.ContainerID = "another"
	must(t, s.c.update(t.Context(), o))
	m.refuse(r, a.Next().String(), c.String(), "with a holder each")
	s.holds(b, r.Attachment)
}

func TestBest(t *testing.T) {
	object := func(name string, age int, held bool) v1alpha1.StickyAddress {
		o := v1alpha1.StickyAddress{}
		o.Name, o.CreationTimestamp = name, *now()
		o.CreationTimestamp.Time = o.CreationTimestamp.Add(-seconds(age))
		if held {
			o.Spec.Holder = &v1alpha1.StickyHolder{}
		}
		return o
	}
	all := []v1alpha1.StickyAddress{object("young", 1, false), object("b", 9, false), object("a", 9, false), object("held", 0, true)}
	for n, want := range map[int]string{1: "young", 2: "b", 3: "a", 4: "held"} {
		for _, order := range [][]v1alpha1.StickyAddress{slices.Clone(all[:n]), reversed(all[:n])} {
			if i, err := best(order); err != nil || order[i].Name != want {
				t.Errorf("of the first %d: %s, %v, want %s", n, order[i].Name, err, want)
			}
		}
	}
	if _, err := best([]v1alpha1.StickyAddress{object("a", 1, true), object("b", 2, true)}); err == nil {
		t.Error("two that are held are no error")
	}
}

func reversed(all []v1alpha1.StickyAddress) []v1alpha1.StickyAddress {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
