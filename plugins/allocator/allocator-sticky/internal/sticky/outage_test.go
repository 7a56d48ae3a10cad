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

// lossy is a way to the API server on which the answer to one request of a method is lost.
type lossy struct {
	next   http.RoundTripper
	method atomic.Pointer[string]
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if method := l.method.Load(); err == nil && method != nil && r.Method == *method && l.method.CompareAndSwap(method, nil) {
		answer.Body.Close()
		return nil, errLost
	}
	return answer, err
}

// lossyNode is a node whose allocator has such a way. It returns what has the next answer lost.
func (s *site) lossyNode(name string) (m *machine, lose func(method string)) {
	s.Helper()
	m, l := s.node(name), &lossy{}
	config := s.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { l.next = next; return l })
	c, err := newCluster(config)
	must(s.T, err)
	m.cluster = c
	return m, func(method string) { l.method.Store(&method) }
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m, lose := s.lossyNode("one")
	pool := s.pool(false, 64)
	r := m.request("db-0", pool)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		lose(method)
		if addr, err := m.try(r, shortly); !errors.Is(err, errLost) {
			t.Fatalf("with the answer to %s lost: %s, %v", method, addr, err)
		}
	}
	addr := m.give(r)
	if all := s.all(pool); len(all) != 1 {
		t.Errorf("there are %v", all)
	}
	lose(http.MethodPut)
	if err := m.Release(t.Context(), r.Attachment); !errors.Is(err, errLost) {
		t.Fatal(err)
	}
	m.end(r.Attachment)
	s.holds(addr, allocator.Attachment{})

	// What was written for a sandbox of which nobody knows is released like any other.
	r = m.request("db-0", pool)
	lose(http.MethodPut)
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
