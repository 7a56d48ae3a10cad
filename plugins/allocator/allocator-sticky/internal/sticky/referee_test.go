// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// referee knows of all that was given and not yet released, from outside: what the callers saw.
type referee struct {
	t  *testing.T
	mu sync.Mutex
	// running are the pods that run, by address and by name.
	running map[netip.Addr]string
	has     map[string]netip.Addr
	games   int
}

// starts is called when a sandbox got the address, and ends before it is released, or with its machine.
func (r *referee) starts(pod, sandbox string, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.games++
	if other := r.running[addr]; other != "" {
		r.t.Errorf("%s of %s is given to %s, and %s runs with it", addr, pod, sandbox, other)
	}
	if other, runs := r.has[pod]; runs {
		r.t.Errorf("%s is given %s, and runs with %s", pod, addr, other)
	}
	r.running[addr], r.has[pod] = pod+" "+sandbox, addr
}

func (r *referee) ends(pod string, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, addr)
	delete(r.has, pod)
}

// plays lets pods of the number come and go on the machines, several of one name at once, until the context ends.
func (r *referee) plays(ctx context.Context, machines []*machine, pods int, pool allocator.Pool) {
	s := machines[0].s
	for n := 0; ctx.Err() == nil; n++ {
		m, pod := machines[rand.IntN(len(machines))], fmt.Sprint("db-", rand.IntN(pods))
		request := allocator.Request{Attachment: m.sandbox(), Pod: s.pod(pod), Pool: pool, Within: pool.Prefix}
		asking, cancel := context.WithTimeout(s.Context(), time.Duration(rand.IntN(400))*time.Millisecond)
		addr, err := m.Allocate(asking, request)
		cancel()
		switch {
		case err == nil:
			r.starts(pod, request.Attachment.ContainerID, addr)
			if again, err := m.try(request, 10*time.Second); err != nil || again != addr {
				r.t.Errorf("%s, asking again for %s, gets %s, %v", pod, addr, again, err)
			}
			r.ends(pod, addr)
		case errors.Is(err, allocator.ErrRefused):
			r.t.Error(err)
		}
		for range 1 + rand.IntN(2) {
			if err := m.Release(s.Context(), request.Attachment); err != nil {
				r.t.Error(err)
			}
		}
	}
}

// meddles does what administrators do.
func (r *referee) meddles(ctx context.Context, s *site, pool allocator.Pool) {
	for pace := time.Tick(20 * time.Millisecond); ctx.Err() == nil; <-pace {
		list, err := s.c.addresses.List(ctx, metav1.ListOptions{FieldSelector: "spec.pool=" + pool.Name})
		if err != nil || len(list.Items) == 0 {
			continue
		}
		o := list.Items[rand.IntN(len(list.Items))]
		s.c.addresses.Delete(ctx, o.Name, metav1.DeleteOptions{})
	}
}

// TestNoAddressIsTwoPods has pods come and go on two nodes at once, more of them than there are addresses, while
// addresses are deleted.
func TestNoAddressIsTwoPods(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	machines := []*machine{s.node("one"), s.node("two")}
	pool := s.pool(true, 28)
	r := &referee{t: t, running: map[netip.Addr]string{}, has: map[string]netip.Addr{}}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	var players sync.WaitGroup
	for range 24 {
		players.Go(func() { r.plays(ctx, machines, 20, pool) })
	}
	players.Go(func() { r.meddles(ctx, s, pool) })
	players.Wait()
	t.Logf("%d grants", r.games)
	if r.games < 50 {
		t.Errorf("%d grants are few", r.games)
	}
	for _, m := range machines {
		if left, err := m.List(t.Context(), m.name); err != nil || len(left) > 0 {
			t.Errorf("after all were released %s has %v, %v", m.name, left, err)
		}
	}
}

// TestManyPodsOnTwoNodes starts every pod on both nodes at once, again and again: one of the two gets its address.
func TestManyPodsOnTwoNodes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	machines := []*machine{s.node("one"), s.node("two")}
	pool := s.pool(false, 64)
	had := map[string]netip.Addr{}
	for round := range 3 {
		var mu sync.Mutex
		given := map[string][]allocator.Request{}
		var pods sync.WaitGroup
		for i := range 30 {
			for _, m := range machines {
				pods.Go(func() {
					r := m.request(fmt.Sprint("db-", i), pool)
					addr, err := m.try(r, 3*time.Second)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						return
					}
					given[r.Pod.Name] = append(given[r.Pod.Name], r)
					if before, ok := had[r.Pod.Name]; ok && before != addr {
						t.Errorf("%s gets %s, and had %s", r.Pod.Name, addr, before)
					}
					had[r.Pod.Name] = addr
				})
			}
		}
		pods.Wait()
		for i := range 30 {
			if got := given[fmt.Sprint("db-", i)]; len(got) != 1 {
				t.Fatalf("round %d: db-%d was given its address %d times: %v", round, i, len(got), got)
			}
			for _, r := range given[fmt.Sprint("db-", i)] {
				machines[0].end(r.Attachment)
			}
		}
	}
	addrs := map[netip.Addr]bool{}
	for _, addr := range had {
		addrs[addr] = true
	}
	if all := s.all(pool); len(all) != 30 || len(addrs) != 30 {
		t.Errorf("30 pods have %d addresses, and there are %d", len(addrs), len(all))
	}
}

// TestHandOver reboots a node again and again, from which and to which pods move meanwhile.
func TestHandOver(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	machines := []*machine{s.node("one"), s.node("two")}
	pool := s.pool(true, 24)
	r := &referee{t: t, running: map[netip.Addr]string{}, has: map[string]netip.Addr{}}
	for range 4 {
		lost := map[string]netip.Addr{}
		for i := range 8 {
			request := machines[0].request(fmt.Sprint("db-", i), pool)
			lost[request.Pod.Name] = machines[0].give(request)
			r.starts(request.Pod.Name, request.Attachment.ContainerID, lost[request.Pod.Name])
		}
		machines[0].setReady(corev1.ConditionUnknown)
		var moving, asking sync.WaitGroup
		asking.Add(len(lost))
		for name, addr := range lost {
			moving.Go(func() {
				request := machines[1].request(name, pool)
				asking.Done()
				got, err := machines[1].try(request, 20*time.Second)
				if err != nil || got != addr {
					t.Errorf("%s gets %s, %v, and had %s", name, got, err, addr)
					return
				}
				r.starts(name, request.Attachment.ContainerID, got)
				r.ends(name, got)
				machines[1].end(request.Attachment)
			})
		}
		asking.Wait()
		for name, addr := range lost {
			r.ends(name, addr)
		}
		machines[0].reboot()
		moving.Wait()
		machines[0].setReady(corev1.ConditionTrue)
	}
}
