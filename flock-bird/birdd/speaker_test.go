// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakers"
	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/lab"
	"flock.fritzlab.net/flock/test/tor"
)

// area is where birdd notes what is wrong with the site's speaker.
func (s *site) area() string { return speakers.Title(s.kind) }

// speakerLog is what the extension and the process that runs it say, where there are these.
func (s *site) speakerLog() string {
	text, _ := os.ReadFile(s.path("speaker.log"))
	return string(text)
}

// endSpeaker ends the node's speaker as for a restart.
func (s *site) endSpeaker() {
	s.Helper()
	if s.kind == onBIRD {
		must(s.T, s.bird.End(s.Context(), unix.SIGKILL))
		return
	}
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	must(s.T, s.runner.End(ctx, unix.SIGTERM))
}

// restartSpeaker ends the node's speaker, and starts it again when birdd has seen that it is away.
func (s *site) restartSpeaker() {
	s.Helper()
	s.endSpeaker()
	s.wantProblem(s.area(), "")
	if s.kind == onBIRD {
		s.startBird("-R")
	} else {
		s.startRunner()
	}
}

// extensionPID returns the process of the speaker that is an extension.
func (s *site) extensionPID() int {
	s.Helper()
	text, err := os.ReadFile(s.path("speaker-gobgp.json"))
	must(s.T, err)
	var record struct{ State struct{ PID int } }
	must(s.T, json.Unmarshal(text, &record))
	return record.State.PID
}

// newExtensionSite is a site that is well, whose speaker is an extension, and what tells of routes lost since.
func newExtensionSite(t *testing.T) (s *site, lost func() []string) {
	t.Helper()
	s, r := newSite6(t, onGoBGP)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantProblem("", "")
	here, there := s.watchDeletes(s.node), s.watchDeletes(r.Netns)
	return s, func() []string { return slices.Concat(here(), there()) }
}

// wantWell checks that all is as it was, and no route was lost.
func (s *site) wantWell(lost func() []string) {
	s.Helper()
	s.wantProblem("", "")
	s.wantSessions(1)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	if lost := lost(); len(lost) > 0 {
		s.Errorf("lost %v", lost)
	}
}

// TestRunnerMayDie: the process that runs the extension is killed, and the next one takes over what it ran.
func TestRunnerMayDie(t *testing.T) {
	s, lost := newExtensionSite(t)
	since, pid := s.session("tor").Since, s.extensionPID()
	must(t, s.runner.End(t.Context(), unix.SIGKILL))
	s.wantSessions(1)
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64500, med: 5", 1)) // birdd goes on by itself
	s.eventually("the change is announced", func() error {
		out, err := s.routers[0].Bird.Ask(t.Context(), "show route all 2001:db8:1::/64")
		if err == nil && !strings.Contains(out, "BGP.med: 5") {
			err = errNotExpected
		}
		return err
	})
	s.startRunner()
	s.eventually("it is looked after again", func() error {
		if strings.Count(s.speakerLog(), "extension is up") < 2 {
			return fmt.Errorf("%s", s.speakerLog())
		}
		return nil
	})
	s.wantUpSince("tor", since)
	if now := s.extensionPID(); now != pid {
		t.Errorf("the extension was process %d and is %d", pid, now)
	}
	s.wantWell(lost)
}

// TestRunnerStops: a plain restart, as of its container, is a graceful one.
func TestRunnerStops(t *testing.T) {
	s, lost := newExtensionSite(t)
	pid := s.extensionPID()
	s.restartSpeaker()
	s.wantWell(lost)
	if now := s.extensionPID(); now == pid || unix.Kill(pid, 0) != unix.ESRCH {
		t.Errorf("the extension was process %d and is %d", pid, now)
	}
}

// TestExtensionMayDie: it is killed, and hangs, and is started again both times.
func TestExtensionMayDie(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP} {
		t.Run(sig.String(), func(t *testing.T) {
			s, lost := newExtensionSite(t)
			pid := s.extensionPID()
			must(t, unix.Kill(pid, sig))
			if err := lab.Within(t.Context(), time.Minute, "it was started again", func() error {
				if now := s.extensionPID(); now == 0 || now == pid {
					return errNotExpected
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			s.wantWell(lost)
		})
	}
}

// TestNoExtension: nobody runs the speaker that the NodeConfig names; the rest goes on.
func TestNoExtension(t *testing.T) {
	s := newClusterSite(t, onGoBGP, 1)
	s.configure(spec6)
	s.startBirdd()
	s.wantProblem("speaker gobgp", `have "birdd speaker gobgp" run on the node`)
	s.wantRoutes(s.node, "main", pool6Main)
	s.wantRoutes(s.node, "7273", pool6Announce)
	s.wantCondition("Established", "Unknown", "SpeakerUnreachable", "birdd speaker gobgp")
	s.wantCondition("Announced", "Unknown", "SpeakerUnreachable", "birdd speaker gobgp")
	s.wantNetwork("True", "FlockDoesNotAnnounce")
	s.startSpeakers(tor.IPv6)
	s.wantCondition("Announced", "True", "SummariesAnnounced", "")
	s.wantNetwork("False", "FlockAnnounces")
	s.wantProblem("", "")
}

// TestRefusedByExtension: what the speaker cannot do changes nothing.
func TestRefusedByExtension(t *testing.T) {
	s, lost := newExtensionSite(t)
	since := s.session("tor").Since
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64500, bfd: immediate", 1))
	s.wantProblem("speaker gobgp", "bgp.peers[tor].bfd")
	s.wantUpSince("tor", since)
	s.configure(spec6)
	s.wantWell(lost)
	s.wantUpSince("tor", since)
}

// TestRestartedWhileItRefuses: the speaker goes on by what it had, and not by what it refuses.
func TestRestartedWhileItRefuses(t *testing.T) {
	s, lost := newExtensionSite(t)
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64500, bfd: immediate", 1))
	s.wantProblem("speaker gobgp", "bgp.peers[tor].bfd")
	s.endSpeaker()
	s.wantProblem("speaker gobgp", "reach speaker gobgp")
	s.startRunner()
	s.wantSessions(1)
	s.wantProblem("speaker gobgp", "bgp.peers[tor].bfd")
	s.configure(spec6)
	s.wantWell(lost)
}

// TestOtherSpeaker: the sessions go from one speaker to the other and back, and are never both's.
func TestOtherSpeaker(t *testing.T) {
	s, r := newSite6(t, onBIRD)
	s.kind = onGoBGP
	s.startSpeaker()
	for _, kind := range []string{onGoBGP, onBIRD} {
		s.kind = kind
		s.configure(spec6)
		s.eventually("the session is the speaker's", func() error {
			if report := s.status(); report.Speaker.Name != kind || len(report.Sessions) != 1 || report.Sessions[0].State != speaker.Established {
				return fmt.Errorf("%+v", report)
			}
			return nil
		})
		s.wantRoutes(r.Netns, "main", pool6AtRouter)
		s.wantRoutes(s.node, "main", default6, pool6Main)
		s.wantProblem("", "")
		out, err := s.bird.Ask(t.Context(), "show protocols")
		must(t, err)
		if has := strings.Contains(out, "peer_tor"); has != (kind == onBIRD) {
			t.Errorf("with %s as the speaker BIRD has\n%s", kind, out)
		}
	}
}

// TestOtherContainer: one speaker ends as for a restart, and what it left in the kernel goes when the other takes over.
func TestOtherContainer(t *testing.T) {
	s, r, _ := newContainedSite(t)
	must(t, s.contained.End(t.Context(), unix.SIGTERM))
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.kind = onGoBGP
	s.configure(spec6)
	s.startSpeaker()
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.endSpeaker()
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.kind = onBIRD
	s.configure(spec6)
	s.contained = s.startContained()
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantProblem("", "")
}

func TestPoolByAddresses(t *testing.T) { bySpeaker(t, testPoolByAddresses) }

// testPoolByAddresses: a pool that several nodes share has no summary.
func testPoolByAddresses(t *testing.T, kind string) {
	s, r := newSite6(t, kind)
	const inside, outside = "2001:db8:9::7 via fd00:1::2 dev node proto bird metric 32", "2001:db8:e::7 via fd00:1::2 dev node proto bird metric 32"
	s.ip("-6 route add 2001:db8:9::7 dev pod table 7273 proto 73 metric 16")
	s.ip("-6 route add 2001:db8:e::7 dev pod table 7273 proto 73 metric 16")
	s.wantRoutes(r.Netns, "main", pool6AtRouter, inside, outside)
	shared := strings.Replace(spec6, "pools: [", `pools: [{name: shared, cidr: "2001:db8:9::/64", announce: addresses}, `, 1)
	s.configure(strings.Replace(shared, "peers:", "exportAccept: [\"2001:db8:f::/48\"]\n    peers:", 1))
	s.wantRoutes(r.Netns, "main", pool6AtRouter, inside)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	s.wantRoutes(s.node, "7273", pool6Announce, "2001:db8:9::7 dev pod proto 73 metric 16", "2001:db8:e::7 dev pod proto 73 metric 16")
	s.wantProblem("", "")
}
