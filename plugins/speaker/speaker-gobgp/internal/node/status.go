// SPDX-License-Identifier: Apache-2.0

package node

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/engine"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/kernel"
)

// Status is [speaker.Speaker.Status].
func (n *Node) Status(ctx context.Context, announced []netip.Prefix) (speaker.Status, error) {
	n.mu.Lock()
	e, config, taken := n.engine, n.config, n.taken
	n.mu.Unlock()
	s := speaker.Status{Version: Version, RouterID: config.RouterID, Sent: map[netip.Prefix][]string{}}
	if e == nil {
		return s, nil
	}
	sessions, err := e.Sessions(ctx)
	if err != nil {
		return s, err
	}
	spoken := map[string]bool{}
	for _, in := range sessions {
		sent := map[netip.Prefix]bool{}
		if in.State == speaker.Established && !in.Deferring {
			if sent, err = e.Sent(in.Neighbor); err != nil {
				return s, err
			}
		}
		if in.Passive && silent(in) {
			continue
		}
		spoken[in.Peer.Name] = true
		s.Sessions = append(s.Sessions, session(in, taken[in.Name()], sent))
		for _, p := range announced {
			if sent[p] {
				s.Sent[p] = append(s.Sent[p], in.Name())
			}
		}
	}
	for _, p := range config.Peers {
		if p.Unnumbered() && !spoken[p.Name] {
			s.Sessions = append(s.Sessions, speaker.Session{Peer: p.Name, Name: p.Interface, ASN: p.ASN, State: speaker.Active})
		}
	}
	slices.SortStableFunc(s.Sessions, func(a, b speaker.Session) int { return cmp.Compare(a.Peer, b.Peer) })
	return s, nil
}

// silent tells of a neighbour that has never spoken BGP.
func silent(s engine.Session) bool {
	return (s.State == speaker.Idle || s.State == speaker.Active) && s.LastError == ""
}

func session(in engine.Session, taken, sent map[netip.Prefix]bool) speaker.Session {
	out := speaker.Session{
		Peer: in.Peer.Name, Name: in.Name(), Address: in.Address, ASN: in.Peer.ASN,
		State: in.State, Since: in.Since, LastError: in.LastError,
	}
	for _, f := range []struct {
		name    string
		carried bool
		v4      bool
	}{{"ipv4", in.Peer.IPv4, true}, {"ipv6", in.Peer.IPv6, false}} {
		if f.carried {
			out.Families = append(out.Families, speaker.Family{Name: f.name, Received: count(taken, f.v4), Exported: count(sent, f.v4)})
		}
	}
	return out
}

func count(prefixes map[netip.Prefix]bool, v4 bool) (n int) {
	for p := range prefixes {
		if p.Addr().Is4() == v4 {
			n++
		}
	}
	return n
}

// Stop is [speaker.Speaker.Stop].
func (n *Node) Stop(ctx context.Context, mode speaker.StopMode) error {
	n.mu.Lock()
	e := n.engine
	if n.ended != nil {
		n.ended() // before there is no engine: the main table stays as it is
	}
	n.engine = nil
	n.stopLinks()
	n.mu.Unlock()
	n.tasks.Wait()
	var errs []error
	if e != nil {
		errs = append(errs, e.Stop(ctx, mode == speaker.StopGraceful))
	}
	if mode == speaker.StopNow {
		errs = append(errs, removeRoutes(), n.marker.remove())
	}
	return errors.Join(errs...)
}

func removeRoutes() error {
	fib, err := kernel.OpenFIB()
	if err != nil {
		return err
	}
	defer fib.Close()
	return fib.Apply(nil)
}
