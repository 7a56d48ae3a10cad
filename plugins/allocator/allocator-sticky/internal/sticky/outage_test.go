// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

var errLost = errors.New("the answer is lost")

// wire is a way to the API server on which something happens to the next request of a method.
type wire struct {
	next http.RoundTripper
	trap atomic.Pointer[trap]
}

type trap struct {
	method string
	spring func(*http.Request, http.RoundTripper) (*http.Response, error)
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := w.trap.Load(); t != nil && t.method == r.Method && w.trap.CompareAndSwap(t, nil) {
		return t.spring(r, w.next)
	}
	return w.next.RoundTrip(r)
}

// wired is a node whose allocator has such a way.
func (s *site) wired(name string) (*machine, *wire) {
	s.Helper()
	m, w := s.node(name), &wire{}
	config := s.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { w.next = next; return w })
	c, err := newCluster(config)
	must(s.T, err)
	m.cluster = c
	m.guarded.Store(true)
	return m, w
}

// lose has the next answer to a request of the method lost.
func (w *wire) lose(method string) {
	w.trap.Store(&trap{method, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil {
			answer.Body.Close()
		}
		return nil, errors.Join(err, errLost)
	}})
}

// before has something done before the next request of the method is sent.
func (w *wire) before(method string, do func()) {
	w.trap.Store(&trap{method, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		do()
		return next.RoundTrip(r)
	}})
}

// A write that is on its way when the caller gives up is not cut short: nobody would know what came of it.
func TestGivenUpInTheMidstOfAWrite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m, w := s.wired("one")
	r := m.request("db-0", s.pool(true, 24))
	ctx, cancel := context.WithCancel(t.Context())
	w.before(http.MethodPut, cancel)
	addr, err := m.Allocate(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	s.holds(addr, r.Attachment)
}

// A release that is called meanwhile comes after it.
func TestReleasedInTheMidstOfAWrite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m, w := s.wired("one")
	r := m.request("db-0", s.pool(true, 24))
	ctx, cancel := context.WithCancel(t.Context())
	released := make(chan error, 1)
	w.before(http.MethodPut, func() {
		cancel()
		go func() { released <- m.Release(t.Context(), r.Attachment) }()
		select {
		case err := <-released:
			t.Errorf("Release returns, with %v, while the address is being given", err)
			released <- err
		case <-time.After(200 * time.Millisecond): // in which it could have
		}
	})
	addr, err := m.Allocate(ctx, r)
	must(t, errors.Join(err, <-released))
	s.holds(addr, allocator.Attachment{})
}

// Nobody deletes what is another by now.
func TestRemoveOnlyWhatWasSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pool := s.pool(true, 24)
	s.assign(pool, pool.Prefix.Addr(), "db-0")
	seen := s.object(pool.Prefix.Addr())
	s.Kubectl(t, "annotate", "sticky", seen.Name, "example.net/a=b")
	changed := s.object(pool.Prefix.Addr())
	if err := s.c.remove(t.Context(), seen); !errors.Is(err, errAgain) {
		t.Errorf("what has changed is deleted: %v", err)
	}
	must(t, s.c.remove(t.Context(), changed))
	s.assign(pool, pool.Prefix.Addr(), "db-1")
	if err := s.c.remove(t.Context(), changed); !errors.Is(err, errAgain) {
		t.Errorf("what was made anew is deleted: %v", err)
	}
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m, w := s.wired("one")
	pool := s.pool(false, 64)
	r := m.request("db-0", pool)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		w.lose(method)
		if addr, err := m.try(r, shortly); !errors.Is(err, errLost) {
			t.Fatalf("with the answer to %s lost: %s, %v", method, addr, err)
		}
	}
	addr := m.give(r)
	if all := s.all(pool); len(all) != 1 {
		t.Errorf("there are %v", all)
	}
	w.lose(http.MethodPut)
	if err := m.Release(t.Context(), r.Attachment); !errors.Is(err, errLost) {
		t.Fatal(err)
	}
	m.end(r.Attachment)
	s.holds(addr, allocator.Attachment{})

	// What was written for a sandbox of which nobody knows is released like any other.
	r = m.request("db-0", pool)
	w.lose(http.MethodPut)
	m.try(r, shortly)
	s.holds(addr, r.Attachment)
	list, err := m.List(t.Context(), m.name)
	if err != nil || len(list) != 1 || list[0].Attachment != r.Attachment {
		t.Errorf("List: %v, %v", list, err)
	}
	m.end(r.Attachment)
	m.give(m.request("db-0", pool))
}

func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	s := siteOn(t, apiserver.New(t))
	m := s.node("one")
	pool := s.pool(true, 24)
	r, other := m.request("db-0", pool), m.request("db-1", pool)
	addr := m.give(r)
	s.Stop()
	for _, request := range []allocator.Request{r, other} {
		if got, err := m.try(request, shortly); err == nil || errors.Is(err, allocator.ErrExhausted) || errors.Is(err, allocator.ErrRefused) ||
			!strings.Contains(err.Error(), "connection refused") {
			t.Errorf("without the API server: %s, %v", got, err)
		}
	}
	if err := m.Release(t.Context(), r.Attachment); err == nil {
		t.Error("an address is released without the API server")
	}
	if list, err := m.List(t.Context(), m.name); err == nil {
		t.Errorf("List without the API server: %v", list)
	}
	s.Resume(t)
	s.holds(addr, r.Attachment)
	if got := m.give(r); got != addr {
		t.Errorf("db-0 gets %s, and had %s", got, addr)
	}
	m.give(other)

	// A server that hangs costs the time that the caller has, and no more.
	s.Freeze()
	must(t, lab.Within(t.Context(), 10*time.Second, "the server is frozen", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := s.c.node(ctx, m.name); err == nil {
			return errors.New("it answers")
		}
		return nil
	}))
	m.refuse(m.request("db-2", pool), "give ")
	s.Thaw()
	m.end(r.Attachment)
	s.holds(addr, allocator.Attachment{})
}

func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	pool := s.pool(true, 32)
	r := m.request("db-0", pool)
	addr := m.give(r)
	name := s.object(addr).Name
	remove := func() error {
		_, err := s.TryKubectl(t.Context(), s.Kubeconfig(t), "", "delete", "stickyaddress", name, "--wait=false")
		return err
	}
	if err := remove(); err == nil || !strings.Contains(err.Error(), "a pod on node "+m.name+" has the address "+addr.String()+": delete the pod") {
		t.Errorf("what is held is deleted: %v", err)
	}
	s.holds(addr, r.Attachment)
	m.end(r.Attachment)
	must(t, remove())
	if o := s.object(addr); o != nil {
		t.Errorf("it is there: %v", o)
	}
	r = m.request("db-1", pool)
	m.give(r)

	// One that is deleted and has to wait for somebody else may go at any moment.
	m.end(r.Attachment)
	s.Kubectl(t, "patch", "stickyaddress", name, "--type=merge", "-p", `{"metadata": {"finalizers": ["example.net/x"]}}`)
	must(t, remove())
	m.refuse(m.request("db-1", pool), `["example.net/x"]`)
	s.holds(addr, allocator.Attachment{})
	s.Kubectl(t, "patch", "stickyaddress", name, "--type=merge", "-p", `{"metadata": {"finalizers": null}}`)
	m.give(m.request("db-1", pool))
}

// Without the policy a StickyAddress that is in use could be deleted, and then be another pod's.
func TestWithoutPolicy(t *testing.T) {
	t.Parallel()
	s := siteOn(t, apiserver.New(t))
	m := s.node("one")
	s.Kubectl(t, "delete", "validatingadmissionpolicybinding", "flock-sticky-held")
	must(t, lab.Within(t.Context(), 20*time.Second, "the policy is in force no more", func() error {
		if deletable, err := s.c.deletable(t.Context(), v1alpha1.StickyAddressName(s.canary)); err != nil || !deletable {
			return fmt.Errorf("deletable: %t, %v", deletable, err)
		}
		return nil
	}))
	m.refuse(m.request("db-0", s.pool(true, 24)), "apply deploy/components/sticky, its admission policies too")
}

func TestOwnersDoNotChange(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	addr := m.give(m.request("db-0", s.pool(false, 64)))
	name := s.object(addr).Name
	for _, patch := range []string{
		`{"spec": {"owner": {"ordinal": 1}}}`, `{"spec": {"owner": {"statefulSet": "web"}}}`, `{"spec": {"owner": {"namespace": "web"}}}`,
		`{"spec": {"pool": "other"}}`, `{"spec": {"address": "2001:db8::1"}}`,
	} {
		_, err := s.TryKubectl(t.Context(), s.Kubeconfig(t), "", "patch", "stickyaddress", name, "--type=merge", "-p", patch)
		if err == nil || !strings.Contains(err.Error(), "does not change") {
			t.Errorf("%s: %v", patch, err)
		}
	}
}
