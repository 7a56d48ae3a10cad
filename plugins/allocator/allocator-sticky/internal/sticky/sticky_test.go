// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/test/lab"
)

func TestAddressStaysWithThePod(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.node("one"), s.node("two")
	for _, pool := range []allocator.Pool{s.pool(true, 24), s.pool(false, 64)} {
		first, other := one.request("db-0", pool), two.request("db-1", pool)
		addr := one.give(first)
		if !pool.Prefix.Contains(addr) {
			t.Fatalf("%s is not in %s", addr, pool.Prefix)
		}
		if got := two.give(other); got == addr {
			t.Fatalf("db-1 has db-0's %s", addr)
		}
		for _, m := range []*machine{two, two, one} {
			one.end(first.Attachment)
			two.end(first.Attachment)
			s.holds(addr, allocator.Attachment{})
			first = m.request("db-0", pool)
			if got := m.give(first); got != addr {
				t.Fatalf("db-0 gets %s on %s, and had %s", got, m.name, addr)
			}
			s.holds(addr, first.Attachment)
		}
		if all := s.all(pool); len(all) != 2 {
			t.Errorf("there are %v", all)
		}
	}
}

func TestListAndRelease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.node("one"), s.node("two")
	four, six := s.pool(true, 24), s.pool(false, 64)
	own, other, sibling := one.request("db-0", four), two.request("db-1", four), one.request("db-2", four)
	sibling.Attachment.ContainerID, sibling.Attachment.IfName = own.Attachment.ContainerID, "eth1"
	both := own
	both.Pool, both.Within = six, six.Prefix
	a, b := one.give(own), one.give(both)
	two.give(other)
	one.give(sibling)
	list := func() []string {
		all, err := two.List(t.Context(), one.name) // whichever node asks
		must(t, err)
		var lines []string
		for _, a := range all {
			if age := time.Since(a.Since); age < -time.Second || age > time.Minute {
				t.Errorf("%s is held since %s", a.Address, a.Since)
			}
			lines = append(lines, a.Pool+" "+a.Address.String()+" "+describe(a.Attachment))
		}
		slices.Sort(lines)
		return lines
	}
	want := []string{
		six.Name + " " + b.String() + " " + describe(own.Attachment),
		four.Name + " " + a.String() + " " + describe(own.Attachment),
	}
	if got := list(); len(got) != 3 || !slices.Contains(got, want[0]) || !slices.Contains(got, want[1]) {
		t.Errorf("List: %q, want %q and one more", got, want)
	}
	one.end(own.Attachment)
	one.end(own.Attachment)
	for _, nobody := range []allocator.Attachment{{}, {Node: one.name}, one.sandbox()} {
		one.end(nobody)
	}
	if got := list(); len(got) != 1 || !strings.Contains(got[0], "/eth1 ") {
		t.Errorf("List after Release: %q, want eth1's alone", got)
	}
	if all, err := one.List(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("List of no node: %v, %v", all, err)
	}
}

func TestWaitsForTheRelease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.node("one"), s.node("two")
	pool := s.pool(false, 64)
	old, next := one.request("db-0", pool), two.request("db-0", pool)
	addr := one.give(old)
	two.refuse(next, "give "+s.namespace+"/db-0 an address of pool "+pool.Name, old.Attachment.ContainerID[:12], one.name,
		addr.String(), "ready and has not ended the pod yet")
	s.holds(addr, old.Attachment)

	got := make(chan netip.Addr)
	go func() {
		addr, err := two.try(next, time.Minute)
		if err != nil {
			t.Error(err)
		}
		got <- addr
	}()
	must(t, lab.Within(t.Context(), 30*time.Second, "it waits", func() error { return s.watched(addr) }))
	begun := time.Now()
	one.end(old.Attachment)
	if got := <-got; got != addr {
		t.Errorf("db-0 had %s and gets %s", addr, got)
	}
	if took := time.Since(begun); took > nodeInterval {
		t.Errorf("it was noticed after %s", took)
	}
}

// A sandbox that is made again on the same node waits for the end of the one before.
func TestSamePodSameNode(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	pool := s.pool(true, 24)
	old := m.request("db-0", pool)
	again := old
	again.Attachment = m.sandbox()
	addr := m.give(old)
	if got := m.give(old); got != addr {
		t.Errorf("asked again: %s, was %s", got, addr)
	}
	m.refuse(again, old.Attachment.ContainerID[:12])
	m.end(old.Attachment)
	if got := m.give(again); got != addr {
		t.Errorf("the new sandbox gets %s, not %s", got, addr)
	}
	m.end(old.Attachment) // late
	s.holds(addr, again.Attachment)
}

// A release that was on its way when the attachment asked again comes too late.
func TestLateReleaseUndoesNoGrant(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	r := m.request("db-0", s.pool(true, 24))
	addr := m.give(r)
	seen := s.object(addr)
	m.give(r)
	must(t, m.release(t.Context(), seen))
	s.holds(addr, r.Attachment)

	// What others write meanwhile does not keep it from its work.
	seen = s.object(addr)
	s.Kubectl(t, "annotate", "stickyaddress", seen.Name, "example.net/a=b")
	must(t, m.release(t.Context(), seen))
	s.holds(addr, allocator.Attachment{})
	must(t, m.release(t.Context(), seen))
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	spoil := map[string]func(*allocator.Pod){
		"no owner":          func(p *allocator.Pod) { p.Owner = allocator.Owner{} },
		"a ReplicaSet's":    func(p *allocator.Pod) { p.Owner.Kind = "ReplicaSet" },
		"another group's":   func(p *allocator.Pod) { p.Owner.APIVersion = "apps.kruise.io/v1" },
		"another set's":     func(p *allocator.Pod) { p.Owner.Name = "web" },
		"no number":         func(p *allocator.Pod) { p.Name = "db-x7" },
		"a signed number":   func(p *allocator.Pod) { p.Name = "db-+7" },
		"a padded number":   func(p *allocator.Pod) { p.Name = "db-07" },
		"a negative number": func(p *allocator.Pod) { p.Name = "db--7" },
		"too high a number": func(p *allocator.Pod) { p.Name = "db-2147483648" },
	}
	for name, spoil := range spoil {
		r := m.request("db-0", s.pool(true, 24))
		spoil(&r.Pod)
		_, err := m.try(r, shortly)
		if !errors.Is(err, allocator.ErrRefused) || !strings.Contains(err.Error(), "annotation") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all := s.all(s.pool(true, 24)); len(all) > 0 {
		t.Errorf("there are %v", all)
	}
}

func TestAddressThatDoesNotFit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	pool := s.pool(true, 24)
	s.assign(pool, netip.MustParseAddr(pool.Prefix.Addr().String()).Next(), "db-0")
	r := m.request("db-0", pool)
	r.Within = netip.PrefixFrom(pool.Prefix.Addr().Next().Next(), 31)
	m.refuse(r, "is not in "+r.Within.String(), "kubectl delete stickyaddress ")
	r = m.request("db-0", pool)
	r.Pool.Aside = []allocator.Range{{First: pool.Prefix.Addr(), Last: pool.Prefix.Addr().Next()}}
	m.refuse(r, "is set aside", "kubectl delete stickyaddress ")
	if addr := m.give(m.request("db-0", pool)); addr != pool.Prefix.Addr().Next() {
		t.Errorf("db-0 gets %s, and not what it is assigned", addr)
	}
}

func TestGivenUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	pool := s.pool(true, 30)
	var all []allocator.Attachment
	for i := range 40 {
		r := m.request([]string{"db-0", "db-1", "db-2", "db-3"}[i%4], pool)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i/4)*500*time.Microsecond)
		m.Allocate(ctx, r)
		cancel()
		all = append(all, r.Attachment)
		m.end(r.Attachment)
	}
	for _, at := range all {
		m.end(at)
	}
	if left, err := m.List(t.Context(), m.name); err != nil || len(left) > 0 {
		t.Errorf("after all were released there are %v, %v", left, err)
	}
	given := map[netip.Addr]bool{}
	for _, pod := range []string{"db-0", "db-1", "db-2", "db-3"} {
		given[m.give(m.request(pod, pool))] = true
	}
	if len(given) != 4 {
		t.Errorf("four pods have %v", given)
	}
}
