// SPDX-License-Identifier: Apache-2.0

package speakertest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/tor"
)

// wantSame checks that a session has been up since a time, which a speaker may reckon anew within a second.
func (w *world) wantSame(peer string, since time.Time) {
	w.Helper()
	s, err := w.session(peer)
	w.must(err)
	if s.State != speaker.Established || s.Since.Sub(since).Abs() > time.Second {
		w.fail("the session was up since %s and is %s since %s", since, s.State, s.Since)
	}
}

// pair is a node with a session that is up, and what tells of routes lost since.
func (w *world) pair() (lost func() []string) {
	w.Helper()
	w.routers[0].start(tor.IPv6)
	w.announce(single6, "pod")
	w.run(w.config(tor6(1)))
	w.wantPair()
	here, there := w.watchDeletes(w.node), w.watchDeletes(w.routers[0].Netns)
	return func() []string { return slices.Concat(here(), there()) }
}

func (w *world) wantPair() {
	w.Helper()
	w.wantEstablished("tor1-v6")
	w.wantLearned(w.routers[0].Netns, atRouter6, single)
	w.wantLearned(w.node, default6)
}

func (w *world) wantNothing(lost []string) {
	w.Helper()
	if len(lost) > 0 {
		w.fail("routes were lost: %v", lost)
	}
}

func sameConfig(w *world) {
	lost := w.pair()
	since := w.wantEstablished("tor1-v6").Since
	for range 3 {
		w.must(w.tell(w.config(tor6(1))))
	}
	w.wantSame("tor1-v6", since)
	w.wantPair()
	w.wantNothing(lost())
}

func otherPeer(w *world) {
	lost := w.pair()
	w.routers[1].start(tor.IPv6)
	since := w.wantEstablished("tor1-v6").Since
	w.configure(w.config(tor6(1), tor6(2)))
	w.wantEstablished("tor2-v6")
	w.wantLearned(w.routers[1].Netns, pool6+" via fd00:2::2 dev node", single6+" via fd00:2::2 dev node")
	w.configure(w.config(tor6(1)))
	w.wantLearned(w.routers[1].Netns)
	w.wantLearned(w.node, default6)
	w.wantSame("tor1-v6", since)
	if there := slices.DeleteFunc(lost(), func(dst string) bool { return dst == "<nil>" || dst == "::/0" }); len(there) > 0 {
		w.fail("routes were lost: %v", there) // the default route's next hops apart
	}
}

func refused(w *world) {
	if w.Refused == nil {
		return // it refuses none
	}
	lost := w.pair()
	since := w.wantEstablished("tor1-v6").Since
	c := w.config(tor6(1))
	field := w.Refused(&c)
	for range 2 {
		err := w.tell(c)
		if r := (*speaker.RefusedError)(nil); !errors.As(err, &r) || r.Field != field || r.Reason == "" {
			w.fail("it answers %v, want a RefusedError of %s", err, field)
		}
	}
	w.wantSame("tor1-v6", since)
	w.wantPair()
	w.wantNothing(lost())
}

func stopGraceful(w *world) {
	lost := w.pair()
	w.stop(speaker.StopGraceful)
	w.wantLearned(w.node, default6)
	w.run(w.config(tor6(1)))
	w.wantPair()
	w.settle()
	w.wantNothing(lost())
}

func killed(w *world) {
	lost := w.pair()
	w.kill()
	w.run(w.config(tor6(1)))
	w.wantPair()
	w.settle()
	w.wantNothing(lost())
}

// settle waits until a speaker that was started again has said and heard everything: what came later arrives.
func (w *world) settle() {
	w.Helper()
	w.announce("2001:db8:f::9", "pod")
	w.routers[0].reload(tor.IPv6 + "protocol static { ipv6; route 2001:db8:a::/48 unreachable; }")
	w.configure(w.config(importing(tor6(1), "::/0", 48)))
	w.wantLearned(w.routers[0].Netns, atRouter6, single, "2001:db8:f::9 via fd00:1::2 dev node")
	w.wantLearned(w.node, default6, "2001:db8:a::/48 via fd00:1::1 dev up1")
}

func stale(w *world) {
	const a = "2001:db8:a::/48 via fd00:1::1 dev up1"
	w.routers[0].start(tor.IPv6 + "protocol static { ipv6; route 2001:db8:a::/48 unreachable; }")
	c := w.config(importing(tor6(1), "::/0", 48))
	w.announce(single6, "pod")
	w.run(c)
	w.wantLearned(w.node, default6, a)
	w.wantLearned(w.routers[0].Netns, atRouter6, single)
	w.stop(speaker.StopGraceful)
	w.routers[0].reload(tor.IPv6)
	w.withdraw(single6)
	w.wantLearned(w.node, default6, a)
	w.run(c)
	w.wantLearned(w.node, default6)
	w.wantLearned(w.routers[0].Netns, atRouter6)
}

func stopNow(w *world) {
	w.pair()
	w.stop(speaker.StopNow)
	w.wantLearned(w.routers[0].Netns)
	w.wantLearned(w.node)
}

// status looks at a session that is up, one that is not, and a pool of a family that no session carries.
func status(w *world) {
	w.routers[0].start(tor.IPv6)
	w.run(w.config(tor6(1), tor6(2)))
	w.wantEstablished("tor1-v6")
	w.wantLearned(w.node, default6)
	w.wantLearned(w.routers[0].Netns, atRouter6)
	w.eventually("the status is right", func() error {
		s, err := w.status()
		if err != nil {
			return err
		}
		return w.judge(s)
	})
}

// judge returns what is not as it is.
func (w *world) judge(s speaker.Status) error {
	if s.Version == "" || s.RouterID != netip.MustParseAddr("10.0.1.2") || len(s.Sessions) != 2 {
		return fmt.Errorf("it is %+v", s)
	}
	up, down := s.Sessions[0], s.Sessions[1]
	if up.Peer != "tor1-v6" || up.State != speaker.Established || up.Address != netip.MustParseAddr("fd00:1::1") || up.ASN != 64500 ||
		!slices.Equal(up.Families, []speaker.Family{{Name: "ipv6", Received: 1, Exported: 1}}) || time.Since(up.Since).Abs() > w.Timeout+time.Minute {
		return fmt.Errorf("the session that is up is %+v", up)
	}
	if down.Peer != "tor2-v6" || down.State == speaker.Established || !slices.Contains(states, down.State) {
		return fmt.Errorf("the session that is down is %+v", down)
	}
	sent6, sent4 := s.Sent[netip.MustParsePrefix(pool6)], s.Sent[netip.MustParsePrefix(pool4)]
	if strings.Join(sent6, " ") != up.Name || len(sent4) > 0 {
		return fmt.Errorf("%s was sent to %v, %s to %v", pool6, sent6, pool4, sent4)
	}
	return nil
}

var states = []speaker.State{speaker.Idle, speaker.Connect, speaker.Active, speaker.OpenSent, speaker.OpenConfirm, speaker.Established}
