// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
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

// TestHolderIsToldAgain: the speaker that has the sessions, and birdd, are started again while the NodeConfig names one
// that is not there.
func TestHolderIsToldAgain(t *testing.T) {
	s, lost := newExtensionSite(t)
	s.kind = "gobpg"
	s.configure(spec6)
	s.wantProblem("speaker gobpg", `have "birdd speaker gobpg" run on the node`)
	s.kind = onGoBGP
	must(t, s.birdd.End(t.Context(), os.Kill))
	s.endSpeaker()
	s.startRunner()
	s.startBirdd()
	s.wantSessions(1)
	s.wantProblem("speaker gobpg", `have "birdd speaker gobpg" run on the node`)
	s.configure(spec6)
	s.wantWell(lost)
}

// TestNextSpeakerCannotListen: the sessions come back from a speaker that cannot have them, until the NodeConfig is another.
func TestNextSpeakerCannotListen(t *testing.T) {
	s, r := newSite6(t, onBIRD)
	var taken net.Listener
	must(t, s.node.Do(func() (err error) { taken, err = net.Listen("tcp4", "0.0.0.0:179"); return err }))
	t.Cleanup(func() { taken.Close() })
	s.kind = onGoBGP
	s.startSpeaker()
	s.configure(spec6)
	s.wantProblem("speaker gobgp", "address already in use")
	s.wantProblem("speaker gobgp", "BIRD has the sessions until the NodeConfig changes")
	s.wantSessions(1)
	if report := s.status(); report.Speaker.Name != onBIRD {
		t.Errorf("the speaker is %+v", report.Speaker)
	}
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	must(t, taken.Close())
	s.never(2*time.Second, "the session ended again", func() bool { return !s.established("tor") })
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64500, med: 5", 1))
	s.wantProblem("", "")
	s.wantSessions(1)
	if report := s.status(); report.Speaker.Name != onGoBGP {
		t.Errorf("the speaker is %+v", report.Speaker)
	}
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantRoutes(s.node, "main", default6, pool6Main)
}

// TestEndBeforeNoted: a birdd that ends between two steps of a move leaves it to the next one, and no session ends for it.
func TestEndBeforeNoted(t *testing.T) {
	s, lost := newExtensionSite(t)
	s.startBird()
	since := s.session("tor").Since
	must(t, s.birdd.End(t.Context(), os.Kill))
	must(t, os.WriteFile(s.path("birdd-speaker"), []byte("bird\n"), 0o644))
	s.startBirdd()
	s.eventually("the move is noted", func() error {
		text, err := os.ReadFile(s.path("birdd-speaker"))
		if err == nil && string(text) != "gobgp\n" {
			err = errNotExpected
		}
		return err
	})
	s.wantUpSince("tor", since)
	s.wantWell(lost)
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
