// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/lab"
	"flock.fritzlab.net/flock/test/tor"
)

// watchDeletes notes every route that a namespace loses; the function returns them.
func (s *site) watchDeletes(n *lab.Netns) func() []string {
	s.Helper()
	lost, err := tor.Losses(s.Context(), n)
	must(s.TB, err)
	return lost
}

// wantLost waits until the kernel has told of this loss; it must be the only one.
func (s *site) wantLost(losses func() []string, want string) {
	s.Helper()
	var lost []string
	s.eventually("the node has lost "+want, func() error {
		if lost = append(lost, losses()...); len(lost) == 0 {
			return errNotYet
		}
		return nil
	})
	if got := strings.Join(lost, " "); got != want {
		s.Errorf("the node lost %s", got)
	}
}

// TestRestart: the speaker is killed, or told to stop as for a restart, and comes back: neither the router's kernel nor the
// node's loses a route, however often, and what nobody announces any more goes.
func TestRestart(t *testing.T) {
	for name, stop := range map[string]func(*site){
		"killed":  (*site).kill,
		"stopped": func(s *site) { must(s.TB, s.speaker.Stop(s.Context(), speaker.StopGraceful)); s.client.Kill() },
		"told by SIGTERM": func(s *site) {
			must(s.TB, unix.Kill(s.client.ReattachConfig().Pid, unix.SIGTERM))
			s.eventually("the speaker has ended", func() error {
				if !s.client.Exited() {
					return errNotYet
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			s.announceSummaries()
			config := s.config(tor6(1), tor4(1))
			s.start(config, tor.DualStack)
			s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter)
			s.wantRoutes(s.node, default6, default4)
			atRouter, atNode := s.watchDeletes(s.routers[0].Netns), s.watchDeletes(s.node)
			for range 2 {
				stop(s)
				s.ip("-6 route add 2001:db8:dead::/48 via fd00:1::1 dev up1 proto bgp metric 32")
				s.launch()
				s.configure(config)
				s.wantEstablished(2)
				s.eventually("the routes are announced again", func() error {
					if len(s.status().Sent) != 2 {
						return errNotYet
					}
					return nil
				})
				s.wantRoutes(s.node, default6, default4)
				s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter)
				s.wantLost(atNode, "2001:db8:dead::/48")
			}
			if lost := atRouter(); len(lost) > 0 {
				t.Errorf("the router lost %s", lost)
			}
		})
	}
}

// TestRestartWithDeadPeer: a peer that does not come back holds neither announcements nor old routes for long.
func TestRestartWithDeadPeer(t *testing.T) {
	s := newSite(t, 2)
	s.announceSummaries()
	config := s.config(tor6(1), tor6(2))
	s.start(config, tor.IPv6, tor.IPv6)
	s.wantRoutes(s.node, "default proto bgp metric 32 nexthop via fd00:1::1 dev up1 weight 1 nexthop via fd00:2::1 dev up2 weight 1")
	s.kill()
	must(t, s.routers[1].Bird.End(t.Context(), os.Kill))
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 20")
	s.launch()
	start := time.Now()
	s.configure(config)
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter, "2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32")
	s.wantRoutes(s.node, default6)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestStopNow: everything is withdrawn and removed, and the next start is no restart.
func TestStopNow(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	s.start(s.config(tor6(1), tor4(1)), tor.DualStack)
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter)
	s.wantRoutes(s.node, default6, default4)
	must(t, s.speaker.Stop(t.Context(), speaker.StopNow))
	if got, err := tor.Routes(t.Context(), s.node, "main"); err != nil || len(got) > 0 {
		t.Errorf("the node still has %s, %v", got, err)
	}
	s.wantRoutes(s.routers[0].Netns)
	s.client.Kill()
	s.launch()
	s.configure(s.config(tor6(1), tor4(1)))
	s.wantRoutes(s.node, default6, default4)
	if s.logged("restarted:") == nil {
		t.Error("the speaker takes it for a restart")
	}
}

// TestNoRestart: sessions that ended gracefully, and then for good because another speaker had them, are not taken up again.
func TestNoRestart(t *testing.T) {
	for name, between := range map[string]func(*site){
		"told of no peers": func(s *site) {
			s.launch()
			s.configure(s.config())
			s.wantRoutes(s.node)
		},
		"long ago": func(s *site) {
			s.ip("-6 route flush proto bgp")
			then := time.Now().Add(-time.Hour)
			must(s.TB, os.Chtimes(s.path("speaker-gobgp.ran"), then, then))
			s.launch()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			s.start(s.config(tor6(1)), tor.IPv6)
			s.wantRoutes(s.node, default6)
			must(t, s.speaker.Stop(t.Context(), speaker.StopGraceful))
			s.client.Kill()
			between(s)
			s.configure(s.config(tor6(1)))
			s.wantEstablished(1)
			s.wantRoutes(s.node, default6)
			if s.logged("restarted:") == nil {
				t.Error("the speaker takes it for a restart")
			}
		})
	}
}

// TestRouterRestarts: the router restarts, by a kill, and the node keeps its routes until the router is back.
func TestRouterRestarts(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	s.start(s.config(tor6(1)), tor.IPv6+"protocol static { ipv6; route 2001:db8:a::/48 unreachable; }")
	s.wantRoutes(s.node, default6)
	p := tor6(1)
	p.ImportAccept = everything
	s.configure(s.config(p))
	const other = "2001:db8:a::/48 via fd00:1::1 dev up1 proto bgp metric 32"
	s.wantRoutes(s.node, default6, other)
	lost := s.watchDeletes(s.node)
	must(t, s.routers[0].Bird.End(t.Context(), os.Kill))
	s.eventually("the session is down", func() error {
		if s.status().Sessions[0].State == speaker.Established {
			return errNotYet
		}
		return nil
	})
	s.routers[0].start(tor.IPv6, "-R") // without the other route
	s.wantRoutes(s.node, default6)
	s.wantLost(lost, "2001:db8:a::/48")
}
