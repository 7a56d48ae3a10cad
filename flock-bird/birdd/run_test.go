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

	"flock.fritzlab.net/flock/internal/birdctl"
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

func newSite6(t *testing.T) (*site, *router) {
	t.Helper()
	s := newSite(t, 1)
	s.start(spec6, router6)
	s.wantEstablished(s.bird, 1)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	return s, s.routers[0]
}

func TestDualStack(t *testing.T) {
	s := newSite(t, 1)
	s.start(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}, {name: default4, cidr: 10.244.1.0/24}]
  summaryRoute: unreachable
  bgp:
    localASN: 64512
    peers:
    - {name: tor6, address: "fd00:1::1", peerASN: 64500}
    - {name: tor4, address: 10.0.1.1, peerASN: 64500}
`, router46)
	s.wantEstablished(s.bird, 2)
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

func TestPoolsChangeLive(t *testing.T) {
	s, r := newSite6(t)
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

func TestPeersChangeLive(t *testing.T) {
	s := newSite(t, 2)
	s.start(spec6, router6, router6)
	s.wantEstablished(s.bird, 1)
	since := s.session("peer_tor").Since
	s.configure(strings.Replace(spec6, `peers: [`, `peers: [{name: tor-b, address: "fd00:2::1", peerASN: 64500}, `, 1))
	s.wantEstablished(s.bird, 2)
	s.wantRoutes(s.node, "main", pool6Main,
		"default proto bird metric 32 nexthop via fd00:1::1 dev up1 weight 1 nexthop via fd00:2::1 dev up2 weight 1")
	s.configure(spec6)
	s.wantEstablished(s.bird, 1)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(s.routers[1].Netns, "main")
	if now := s.session("peer_tor").Since; now != since {
		t.Errorf("the session that did not change was up since %s and is since %s", since, now)
	}
}

// session returns a protocol of the node's BIRD.
func (s *site) session(name string) birdctl.Protocol {
	s.Helper()
	conn, err := birdctl.Dial(s.Context(), s.path("bird.ctl"))
	must(s.T, err)
	defer conn.Close()
	all, err := conn.ShowProtocolsAll(s.Context())
	must(s.T, err)
	i := slices.IndexFunc(all, func(p birdctl.Protocol) bool { return p.Name == name })
	if i < 0 {
		s.Fatalf("no protocol %s", name)
	}
	return all[i]
}

func TestBurstIsFewReloads(t *testing.T) {
	s, r := newSite6(t)
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
	s, r := newSite6(t)
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

func TestDeletedSummaryComesBack(t *testing.T) {
	s, r := newSite6(t)
	s.ip("-6 route del 2001:db8:1::/64 proto 72")
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.ip("-6 route del 2001:db8:1::/64 table 7273")
	s.wantRoutes(s.node, "7273", pool6Announce)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
}

func TestBirddMayDie(t *testing.T) {
	for _, sig := range []os.Signal{unix.SIGKILL, unix.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			s, r := newSite6(t)
			since := s.session("peer_tor").Since
			deleted, deletedHere := s.watchDeletes(r.Netns), s.watchDeletes(s.node)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			must(t, s.birdd.End(ctx, sig))
			s.wantRoutes(s.node, "7273", pool6Announce)
			if report := s.status(); len(report.Sessions) != 1 || report.Sessions[0].State != "Established" {
				t.Errorf("status without birdd: %+v", report)
			}
			before := s.reloads()
			s.startBirdd()
			s.eventually("birdd has loaded its configuration again", func() error {
				if s.reloads() == before {
					return errNotExpected
				}
				return nil
			})
			s.wantProblem("", "")
			if now := s.session("peer_tor").Since; now != since {
				t.Errorf("the session was up since %s and is since %s", since, now)
			}
			if lost := append(deleted(), deletedHere()...); len(lost) > 0 {
				t.Errorf("lost %v", lost)
			}
		})
	}
}

func TestBirdMayDie(t *testing.T) {
	s, r := newSite6(t)
	deleted := s.watchDeletes(r.Netns)
	must(t, s.bird.End(t.Context(), unix.SIGKILL))
	s.wantProblem("BIRD", "connect to BIRD")
	s.startBird("-R")
	s.wantEstablished(s.bird, 1)
	s.wantEstablished(r.bird, 1)
	s.wantProblem("", "")
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	if lost := deleted(); len(lost) > 0 {
		t.Errorf("the router lost %v", lost)
	}
}

// TestSecondBirdd: one that is started too many takes nothing from the first.
func TestSecondBirdd(t *testing.T) {
	s := newSite(t, 1)
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
	s, r := newSite6(t)
	must(t, s.bird.End(t.Context(), unix.SIGKILL))
	must(t, os.Remove(s.path("bird.conf")))
	s.startBird()
	s.wantEstablished(s.bird, 1)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
}

// TestDeadPeerHoldsNothingBack: BIRD starts again while one of its peers is gone.
func TestDeadPeerHoldsNothingBack(t *testing.T) {
	s := newSite(t, 2)
	s.start(strings.Replace(spec6, "peers: [", `peers: [{name: dead, address: "fd00:2::1", peerASN: 64500}, `, 1), router6, router6)
	s.wantEstablished(s.bird, 2)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	must(t, s.routers[1].bird.End(t.Context(), unix.SIGKILL))
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
	s := newSite(t, 1)
	s.configure(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]`)
	s.startBirdd("--bird-conf", "")
	must(t, os.WriteFile(s.path("bird.conf"), []byte(conf), 0o600))
	s.startBird()
	s.routers[0].start(router6)
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 16")
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter, "2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32")
	s.wantRoutes(s.node, "main", pool6Main, default6)
	s.wantProblem("", "")
}
