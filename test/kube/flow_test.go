// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"net/netip"
	"testing"

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
	var flows []*flow
	for _, a := range to {
		ctx, cancel := context.WithCancel(s.t.Context())
		f := &flow{to: a, stop: cancel, done: make(chan struct{})}
		go f.run(ctx, s.Lab().Router.Netns)
		s.t.Cleanup(func() { cancel(); <-f.done })
		flows = append(flows, f)
	}
	return flows
}

func (f *flow) run(ctx context.Context, from *lab.Netns) {
	defer close(f.done)
	for ctx.Err() == nil {
		f.sent++
		// Nobody sends a packet twice: what is only late on a busy machine is not lost. The packet that is on its way
		// at the end is waited for.
		if _, err := from.Ping(context.WithoutCancel(ctx), f.to, lab.PingOptions{Timeout: within}); err != nil {
			f.lost = append(f.lost, err)
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
