// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

// many is how many pods come or go at once.
const many = 50

// newPods makes that many pods. Every second one wants IPv6 alone, so that a guess about its annotations would show.
func (s *site) newPods() []*pod {
	s.t.Helper()
	var pods []*pod
	for i := range many {
		pods = append(pods, s.newPod(fmt.Sprintf("web-%d", i), wants(i)))
	}
	return pods
}

func wants(i int) annotations {
	if i%2 == 0 {
		return annotations{"ipv4": "false"}
	}
	return nil
}

// wantServed wants that the pods have what their annotations say and nothing else, and that they are reachable.
func (s *site) wantServed(pods []*pod) {
	s.t.Helper()
	for i, p := range pods {
		if want := 1 + i%2; len(p.Addresses()) != want || !p.Address6().IsValid() {
			s.t.Errorf("pod %s has %v, want %d addresses", p.object.Name, p.Addresses(), want)
		}
	}
	s.wantReachable(pods...)
}

// restartIpamd kills ipamd and starts it, without a pause, until the returned function is called; then ipamd runs.
func (s *site) restartIpamd() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var group sync.WaitGroup
	rounds := 0
	group.Go(func() {
		for ctx.Err() == nil {
			rounds++
			if err := errors.Join(s.Ipamd.End(s.t.Context(), os.Kill), s.StartIpamd(s.ipamdFlags...)); err != nil {
				s.t.Error(err)
				return
			}
			pause(ctx, time.Duration(rounds%5)*50*time.Millisecond)
		}
	})
	return func() {
		cancel()
		group.Wait()
		s.t.Logf("ipamd was killed %d times", rounds)
	}
}

// pause lets a program run for a while before it is killed.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// TestAPIServerAway takes the API server away from a runtime that tells the plugins the pods' annotations: nobody
// needs it, nor ipamd, which is killed and started all the while.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	api := apiserver.New(t)
	s := newSite(t, api, options{})
	before := s.state()
	pods := s.newPods()
	for _, p := range pods {
		p.capable()
	}
	api.Stop()
	stop := s.restartIpamd()
	check(t, all(pods, s.add))
	s.wantServed(pods)
	check(t, all(pods, s.del))
	stop()
	s.wantState(before)
}

// TestAPIServerAwayFromAnotherRuntime takes it away where the annotations are known to the API server alone. An ADD
// says "try again later" and leaves nothing behind; it succeeds once the API server is back. DEL does not need it.
func TestAPIServerAwayFromAnotherRuntime(t *testing.T) {
	t.Parallel()
	api := apiserver.New(t)
	s := newSite(t, api, options{})
	before := s.state()
	pods := s.newPods()
	api.Stop()
	stop := s.restartIpamd()
	err := all(pods, func(p *pod) error {
		if err := s.add(p); lab.Code(err) != types.ErrTryAgainLater {
			return fmt.Errorf("ADD = %v, want code %d", err, types.ErrTryAgainLater)
		}
		return nil
	})
	check(t, err)
	s.wantState(before)
	api.Resume(t)
	check(t, all(pods, s.retry))
	stop()
	s.wantServed(pods)

	api.Stop()
	stop = s.restartIpamd()
	check(t, all(pods, s.del))
	stop()
	s.wantState(before)
}

// retry adds the pod as a runtime does, again and again while the answer is "try again later".
func (s *site) retry(p *pod) error {
	const patience = 90 * time.Second
	return lab.Within(s.t.Context(), patience, "pod "+p.object.Name+" is attached", func() error { return s.add(p) })
}

// TestKnownPodsNeedNoAPIServer takes the API server away after ipamd has seen the pods.
func TestKnownPodsNeedNoAPIServer(t *testing.T) {
	t.Parallel()
	api := apiserver.New(t)
	s := newSite(t, api, options{})
	pods := s.newPods()
	check(t, s.add(pods[many-1])) // ipamd has seen the last one, so all
	api.Stop()
	check(t, all(pods[:many-1], s.add))
	s.wantServed(pods)
}
