// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/tor"
)

// newEstablishedSite is a node of an API server's whose BIRD has the session.
func newEstablishedSite(t *testing.T) *clusterSite {
	t.Helper()
	s := newClusterSite(t, onBIRD, 1)
	s.start(spec6, tor.IPv6)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	s.wantCondition("Established", "True", "AllEstablished", "")
	s.wantNetwork("False", "FlockAnnounces")
	return s
}

// wantMoved has the NodeConfig, which the speaker can go by, give it the sessions.
func (s *clusterSite) wantMoved(kind string) {
	s.Helper()
	s.kind = kind
	s.configure(spec6)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	s.wantCondition("Announced", "True", "SummariesAnnounced", "")
	s.wantProblem("", "")
	if name := s.status().Speaker.Name; name != kind {
		s.Errorf("the speaker is %s, want %s", name, kind)
	}
}

// TestRefusedByNextSpeaker: the speaker before goes on by what it had, until the NodeConfig is another.
func TestRefusedByNextSpeaker(t *testing.T) {
	s := newEstablishedSite(t)
	s.kind = onGoBGP
	s.startSpeaker()
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64500, bfd: immediate", 1))
	s.kind = onBIRD
	s.wantProblem("speaker gobgp", "bgp.peers[tor].bfd")
	s.wantCondition("Announced", "False", "ConfigurationNotLoaded", "bgp.peers[tor].bfd")
	s.wantCondition("Established", "True", "AllEstablished", "")
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	lost := s.watchDeletes(s.routers[0].Netns)
	s.ip("addr add 192.0.2.9/32 dev pod")
	s.never(2*time.Second, "the speaker that refused was asked again", func() bool { return len(lost()) > 0 })
	s.wantNetwork("False", "FlockAnnounces")
	s.wantMoved(onGoBGP)
}

// TestNextSpeakerIsAway: nothing is taken from the speaker before while nobody runs the one that is named.
func TestNextSpeakerIsAway(t *testing.T) {
	s := newEstablishedSite(t)
	since, lost, lostHere := s.session("tor").Since, s.watchDeletes(s.routers[0].Netns), s.watchDeletes(s.node)
	wantKept := func(name string) {
		t.Helper()
		s.wantProblem("speaker "+name, `have "birdd speaker `+name+`" run on the node`)
		s.wantCondition("Announced", "False", "ConfigurationNotLoaded", "birdd speaker "+name)
		s.wantCondition("Established", "True", "AllEstablished", "")
		s.wantUpSince("tor", since)
		if lost := slices.Concat(lost(), lostHere()); len(lost) > 0 {
			t.Fatalf("lost %v", lost)
		}
	}
	for _, name := range []string{"gobpg", onGoBGP} {
		s.kind = name
		s.configure(spec6)
		wantKept(name)
	}
	must(t, s.birdd.End(t.Context(), os.Kill))
	must(t, os.Remove(s.path("birdd.json")))
	s.startBirdd()
	wantKept(onGoBGP)
	s.startSpeaker()
	s.wantMoved(onGoBGP)
}

// TestLeftByKilledExtension: what it brought goes, although its record says that it is up.
func TestLeftByKilledExtension(t *testing.T) {
	s, _ := newExtensionSite(t)
	pid := s.extensionPID()
	must(t, s.runner.End(t.Context(), unix.SIGKILL))
	must(t, unix.Kill(pid, unix.SIGKILL))
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.kind = onBIRD
	s.startBird()
	s.configure(spec6)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	s.wantProblem("", "")
}
