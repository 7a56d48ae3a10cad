// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/tor"
)

// spec6 is an IPv6-only NodeConfig with one peer.
const spec6 = `
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]
  bgp:
    localASN: 64512
    routerID: 10.0.1.2
    peers: [{name: tor, address: "fd00:1::1", peerASN: 64500}]
`

// pool6 are the routes that spec6 makes on the node, and at the router.
var (
	pool6Main      = "blackhole 2001:db8:1::/64 proto 72 metric 16"
	pool6Announce  = "blackhole 2001:db8:1::/64 proto 73 metric 16"
	default6       = "default via fd00:1::1 dev up1 proto bird metric 32"
	pool6AtRouter  = "2001:db8:1::/64 via fd00:1::2 dev node proto bird metric 32"
	errNotExpected = errors.New("not what is expected")
)

func newSite6(t *testing.T, kind string) (*site, *router) {
	t.Helper()
	s := newSite(t, kind, 1)
	s.start(spec6, tor.IPv6)
	s.wantSessions(1)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	return s, s.routers[0]
}

func TestDualStack(t *testing.T) { bySpeaker(t, testDualStack) }

func testDualStack(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	s.start(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}, {name: default4, cidr: 10.244.1.0/24}]
  summaryRoute: unreachable
  bgp:
    localASN: 64512
    peers:
    - {name: tor6, address: "fd00:1::1", peerASN: 64500}
    - {name: tor4, address: 10.0.1.1, peerASN: 64500}
`, tor.DualStack)
	s.wantSessions(2)
	// Pods' routes are the node's own business; what is in table 7273 is announced.
	s.ip("-6 route add 2001:db8:1::7 dev pod proto 72 metric 16")
	s.ip("route add 10.244.1.7 dev pod proto 72 metric 16")
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 16")
	s.ip("route add 198.51.100.7 dev pod table 7273 proto 73 metric 16")
	s.wantRoutes(s.routers[0].Netns, "main",
		"2001:db8:1::/64 via fd00:1::2 dev node proto bird metric 32",
		"2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32",
		"10.244.1.0/24 via 10.0.1.2 dev node proto bird metric 32",
		"198.51.100.7 via 10.0.1.2 dev node proto bird metric 32")
	// Nothing of table 7273 comes into the main table, and nothing that BGP brought into table 7273.
	s.wantRoutes(s.node, "main",
		"default via fd00:1::1 dev up1 proto bird metric 32",
		"unreachable 2001:db8:1::/64 proto 72 metric 16",
		"2001:db8:1::7 dev pod proto 72 metric 16",
		"default via 10.0.1.1 dev up1 proto bird metric 32",
		"unreachable 10.244.1.0/24 proto 72 metric 16",
		"10.244.1.7 dev pod proto 72 metric 16")
	s.wantRoutes(s.node, "7273",
		"blackhole 2001:db8:1::/64 proto 73 metric 16",
		"2001:db8:f::7 dev pod proto 73 metric 16",
		"blackhole 10.244.1.0/24 proto 73 metric 16",
		"198.51.100.7 dev pod proto 73 metric 16")
	s.ip("link del pod")
	s.wantRoutes(s.routers[0].Netns, "main",
		"2001:db8:1::/64 via fd00:1::2 dev node proto bird metric 32",
		"10.244.1.0/24 via 10.0.1.2 dev node proto bird metric 32")
}

func TestPoolsChangeLive(t *testing.T) { bySpeaker(t, testPoolsChangeLive) }

func testPoolsChangeLive(t *testing.T, kind string) {
	s, r := newSite6(t, kind)
	deleted := s.watchDeletes(r.Netns)
	s.configure(strings.Replace(spec6, `pools: [`, `pools: [{name: more, cidr: "2001:db8:2::/64"}, `, 1))
	s.wantRoutes(r.Netns, "main", pool6AtRouter, "2001:db8:2::/64 via fd00:1::2 dev node proto bird metric 32")
	s.configure(spec6)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(s.node, "7273", pool6Announce)
	if got := deleted(); !slices.Equal(got, []string{"2001:db8:2::/64"}) {
		t.Errorf("the router lost %v", got)
	}
}

func TestPeersChangeLive(t *testing.T) { bySpeaker(t, testPeersChangeLive) }

func testPeersChangeLive(t *testing.T, kind string) {
	s := newSite(t, kind, 2)
	s.start(spec6, tor.IPv6, tor.IPv6)
	s.wantSessions(1)
	since := s.session("tor").Since
	s.configure(strings.Replace(spec6, `peers: [`, `peers: [{name: tor-b, address: "fd00:2::1", peerASN: 64500}, `, 1))
	s.wantSessions(2)
	s.wantRoutes(s.node, "main", pool6Main,
		"default proto bird metric 32 nexthop via fd00:1::1 dev up1 weight 1 nexthop via fd00:2::1 dev up2 weight 1")
	s.configure(spec6)
	s.wantSessions(1)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(s.routers[1].Netns, "main")
	s.wantUpSince("tor", since)
}

// wantUpSince checks that the session is the same: a speaker may reckon the time anew within a second.
func (s *site) wantUpSince(peer string, since time.Time) {
	s.Helper()
	if now := s.session(peer); now.State != speaker.Established || now.Since.Sub(since).Abs() > time.Second {
		s.Errorf("the session was up since %s and is %s since %s", since, now.State, now.Since)
	}
}

// established tells whether the session with the peer is up.
func (s *site) established(peer string) bool {
	s.Helper()
	return s.session(peer).State == speaker.Established
}

// session returns that of a peer as "birdd status" shows it.
func (s *site) session(peer string) status.Session {
	s.Helper()
	var found status.Session
	s.eventually("there is a session with "+peer, func() error {
		all := s.status().Sessions
		i := slices.IndexFunc(all, func(one status.Session) bool { return one.Peer == peer })
		if i < 0 {
			return fmt.Errorf("there are %+v", all)
		}
		found = all[i]
		return nil
	})
	return found
}

func TestBurstIsFewReloads(t *testing.T) {
	s, r := newSite6(t, onBIRD)
	before := s.reloads()
	start := time.Now()
	for i := range 20 {
		s.configure(strings.Replace(spec6, "{name: tor,", fmt.Sprintf("{name: tor, med: %d,", i+1), 1))
		time.Sleep(10 * time.Millisecond) // the burst's own pace
	}
	took := time.Since(start)
	s.eventually("the last one counts", func() error {
		text, err := os.ReadFile(s.path("bird.conf"))
		if err == nil && !strings.Contains(string(text), "bgp_med = 20;") {
			err = errNotExpected
		}
		return err
	})
	if got, most := s.reloads()-before, 2+int(took/(500*time.Millisecond)); got > most {
		t.Errorf("%d reloads in %s, want at most %d", got, took, most)
	}
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
}

// reloads counts the configurations that the node's BIRD took.
func (s *site) reloads() int {
	s.Helper()
	log, err := os.ReadFile(s.bird.Log)
	must(s.T, err)
	return strings.Count(string(log), "Reconfigured")
}

func TestInvalidNodeConfigChangesNothing(t *testing.T) {
	bySpeaker(t, testInvalidNodeConfigChangesNothing)
}

func testInvalidNodeConfigChangesNothing(t *testing.T, kind string) {
	s, r := newSite6(t, kind)
	before, err := os.ReadFile(s.path("bird.conf"))
	must(t, err)
	deleted := s.watchDeletes(r.Netns)
	for _, test := range []struct{ spec, problem string }{
		{"  [", "decode YAML"},
		{spec6 + "  mut: 9000\n", `unknown field "mut"`},
		{strings.Replace(spec6, "64512", "0", 1), "spec.bgp.localASN"},
		{strings.Replace(spec6, "pools: [", `pools: [{name: x, cidr: "2001:db8::/32"}, `, 1), "spec.pools"},
	} {
		s.configure(test.spec)
		s.wantProblem("NodeConfig", test.problem)
	}
	after, err := os.ReadFile(s.path("bird.conf"))
	must(t, err)
	if string(before) != string(after) || len(deleted()) > 0 {
		t.Errorf("something changed: bird.conf is\n%s", after)
	}
	must(t, os.Remove(s.path("config/nodeconfig.yaml")))
	s.wantProblem("NodeConfig", "no such file")
	s.configure(spec6)
	s.wantProblem("", "")
	s.wantRoutes(s.node, "7273", pool6Announce)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
}

func TestDeletedSummaryComesBack(t *testing.T) { bySpeaker(t, testDeletedSummaryComesBack) }

func testDeletedSummaryComesBack(t *testing.T, kind string) {
	s, r := newSite6(t, kind)
	s.ip("-6 route del 2001:db8:1::/64 proto 72")
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.ip("-6 route del 2001:db8:1::/64 table 7273")
	s.wantRoutes(s.node, "7273", pool6Announce)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
}

func TestBirddMayDie(t *testing.T) { bySpeaker(t, testBirddMayDie) }

func testBirddMayDie(t *testing.T, kind string) {
	for _, sig := range []os.Signal{unix.SIGKILL, unix.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			s, r := newSite6(t, kind)
			since := s.session("tor").Since
			deleted, deletedHere := s.watchDeletes(r.Netns), s.watchDeletes(s.node)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			must(t, s.birdd.End(ctx, sig))
			s.wantRoutes(s.node, "7273", pool6Announce)
			if report := s.status(); len(report.Sessions) != 1 || report.Sessions[0].State != "Established" {
				t.Errorf("status without birdd: %+v", report)
			}
			must(t, os.Remove(s.path("birdd.log")))
			s.startBirdd()
			s.eventually("the speaker has its configuration again", func() error {
				if !strings.Contains(s.birddLog(), "the speaker goes by a new configuration") {
					return errNotExpected
				}
				return nil
			})
			s.wantProblem("", "")
			s.wantUpSince("tor", since)
			if lost := append(deleted(), deletedHere()...); len(lost) > 0 {
				t.Errorf("lost %v", lost)
			}
		})
	}
}

func TestBirdMayDie(t *testing.T) {
	s, r := newSite6(t, onBIRD)
	deleted := s.watchDeletes(r.Netns)
	must(t, s.bird.End(t.Context(), unix.SIGKILL))
	s.wantProblem("BIRD", "connect to BIRD")
	s.startBird("-R")
	s.wantSessions(1)
	s.wantEstablished(r.Bird, 1)
	s.wantProblem("", "")
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	if lost := deleted(); len(lost) > 0 {
		t.Errorf("the router lost %v", lost)
	}
}

// TestSecondBirdd: one that is started too many takes nothing from the first.
func TestSecondBirdd(t *testing.T) {
	s := newSite(t, onBIRD, 1)
	s.ip("link set lo up")
	s.configure(spec6)
	s.startBirdd("--listen", "127.0.0.1:7273")
	s.wantProblem("BIRD", "connect to BIRD")
	_, err := s.node.Run(t.Context(), os.Args[0], "run", "--config", s.path("config/nodeconfig.yaml"), "--bird-conf", s.path("bird.conf"),
		"--state-dir", s.dir, "--listen", "127.0.0.1:7273")
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the second ended with %v", err)
	}
	if problems := s.status().Problems; len(problems) != 1 {
		t.Errorf("the first's problems are %v", problems)
	}
}

// TestMissingBirdConf: BIRD, which may be waiting for the file, gets one to start with.
func TestMissingBirdConf(t *testing.T) {
	s, r := newSite6(t, onBIRD)
	must(t, s.bird.End(t.Context(), unix.SIGKILL))
	must(t, os.Remove(s.path("bird.conf")))
	s.startSpeaker()
	s.wantSessions(1)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
}

// TestDeadPeerHoldsNothingBack: BIRD starts again while one of its peers is gone.
func TestDeadPeerHoldsNothingBack(t *testing.T) {
	s := newSite(t, onBIRD, 2)
	s.start(strings.Replace(spec6, "peers: [", `peers: [{name: dead, address: "fd00:2::1", peerASN: 64500}, `, 1), tor.IPv6, tor.IPv6)
	s.wantSessions(2)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	must(t, s.routers[1].Bird.End(t.Context(), unix.SIGKILL))
	must(t, s.bird.End(t.Context(), unix.SIGKILL))
	s.startBird("-R")
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 16")
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter, "2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32")
}

// TestAnotherSpeaker runs the BIRD of docs/bird.md, which birdd leaves alone.
func TestAnotherSpeaker(t *testing.T) {
	doc, err := os.ReadFile("../../docs/bird.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(doc), "```bird\n")
	conf, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/bird.md has no example")
	}
	s := newSite(t, onBIRD, 1)
	s.configure(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]`)
	s.startBirdd("--bird-conf", "")
	must(t, os.WriteFile(s.path("bird.conf"), []byte(conf), 0o600))
	s.startSpeaker()
	s.routers[0].start(tor.IPv6)
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 16")
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter, "2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32")
	s.wantRoutes(s.node, "main", pool6Main, default6)
	s.wantProblem("", "")
}
