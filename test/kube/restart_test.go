// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

// endLimit is how long a daemon may take to end when it is told to.
const endLimit = 2 * time.Second

// TestEndsInTime ends both daemons by SIGTERM while the API server is there, while it is cut off, while it answers
// nothing, and right after their start.
func TestEndsInTime(t *testing.T) {
	t.Parallel()
	api := apiserver.New(t)
	s := newSite(t, api, options{})
	restart := func() {
		check(t, s.StartBirdd())
		s.startIpamd()
	}
	s.wantEnds("with the API server")
	s.link.Cut()
	restart()
	s.wantEnds("just started, and cut off")
	restart()
	pause(t.Context(), time.Second) // they try and try again
	s.wantEnds("cut off")
	s.link.Mend()
	restart()
	s.awaitReadiness()
	s.wantEnds("started again")
	restart()
	s.awaitReadiness()
	api.Freeze()
	s.wantEnds("frozen")
}

func (s *site) wantEnds(when string) {
	s.t.Helper()
	for _, p := range []*lab.Process{s.Ipamd, s.Birdd} {
		ctx, cancel := context.WithTimeout(s.t.Context(), within)
		start := time.Now()
		check(s.t, p.End(ctx, syscall.SIGTERM))
		cancel()
		took := time.Since(start)
		s.t.Logf("%s, %s: ended after %s", p.Name, when, took.Round(time.Millisecond))
		if took > endLimit {
			s.t.Errorf("%s, %s: ended after %s, want %s", p.Name, when, took, endLimit)
		}
	}
}

// TestRestarts kills and starts the daemons again and again, at any moment of their lives, under traffic and while
// readiness changes. No packet is lost, and what is ready stays announced.
func TestRestarts(t *testing.T) {
	t.Parallel()
	const rounds = 20
	s := newSite(t, apiserver.Start(t), options{})
	web := s.attach("web", annotations{"addresses": fixed6 + "," + fixed4})
	dns := s.attach("dns", annotations{"anycast": anycast6 + "," + anycast4})
	other := s.attach("other", annotations{"anycast": other6})
	s.api.SetReady(t, dns.object, true)
	addresses := append(web.Addresses(), dns.Addresses()...)
	for _, a := range []string{anycast6, anycast4, fixed6, fixed4} {
		s.awaitAnnounced(true, a)
	}
	flows := s.startFlows(addresses...)
	for i := range rounds {
		s.end(s.Birdd, os.Kill)
		s.end(s.Ipamd, os.Kill)
		s.api.SetReady(t, other.object, i%2 == 0)
		check(t, s.StartBirdd())
		s.startIpamd()
		pause(t.Context(), time.Duration(i*i)*5*time.Millisecond) // from no time to 1.8 s
	}
	s.api.SetReady(t, other.object, true)
	s.awaitAnnounced(true, other6, anycast6, anycast4, fixed6, fixed4)
	wantWhole(t, flows)
}
