// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// flow pings one address without a pause until it is stopped, and counts.
type flow struct {
	to   netip.Addr
	stop context.CancelFunc
	done chan struct{}
	sent int
	lost []error
}

// startFlows pings each address from the router.
func (s *site) startFlows(to ...netip.Addr) []*flow {
	s.t.Helper()
	var flows []*flow
	for _, a := range to {
		// Nobody sends a packet twice: what is only late on a busy machine is not lost.
		pinger, err := s.Lab().Router.NewPinger(s.t.Context(), a, lab.PingOptions{Timeout: within})
		check(s.t, err)
		ctx, cancel := context.WithCancel(s.t.Context())
		f := &flow{to: a, stop: cancel, done: make(chan struct{})}
		go f.run(ctx, pinger)
		s.t.Cleanup(func() { cancel(); <-f.done })
		flows = append(flows, f)
	}
	return flows
}

func (f *flow) run(ctx context.Context, pinger *lab.Pinger) {
	defer close(f.done)
	defer pinger.Close()
	for ctx.Err() == nil {
		f.sent++
		start := time.Now()
		// The packet that is on its way at the end is waited for.
		if _, err := pinger.Ping(context.WithoutCancel(ctx)); err != nil {
			f.lost = append(f.lost, fmt.Errorf("at %s: %w", start.Format("15:04:05.000"), err))
		}
	}
}

// wantWhole stops the flows and wants that nothing was lost.
func wantWhole(t testing.TB, flows []*flow) {
	t.Helper()
	for _, f := range flows {
		f.stop()
		<-f.done
		if len(f.lost) > 0 {
			t.Errorf("%d of %d pings were lost, the first: %v", len(f.lost), f.sent, f.lost[0])
		}
		t.Logf("%d pings to %s, %d lost", f.sent, f.to, len(f.lost))
	}
}
