// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/engine"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/kernel"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/rib"
)

// restFactor is how many times longer than its work the installer rests after it: a router that sends all of the Internet's
// routes, and changes them all the time, keeps a tenth of a processor busy.
const restFactor = 9

// install keeps the main table as the peers and the kernel have it, until the context ends.
func (n *Node) install(ctx context.Context, fib *kernel.FIB) {
	defer fib.Close()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.routes:
		}
		start := time.Now()
		err := n.installOnce(ctx, fib)
		switch {
		case err == nil:
			said = ""
		case err.Error() != said && ctx.Err() == nil:
			said = err.Error()
			n.log.Error("install routes", "error", said)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(restFactor * time.Since(start)):
		}
	}
}

func (n *Node) installOnce(ctx context.Context, fib *kernel.FIB) error {
	n.mu.Lock()
	e, rules, peers := n.engine, n.rules, n.config.Peers
	n.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	if e == nil {
		return fib.Apply(nil)
	}
	sessions, err := e.Sessions(ctx)
	if err != nil {
		return err
	}
	if n.holding(peers, sessions) {
		return nil
	}
	far := slices.ContainsFunc(peers, func(p speaker.Peer) bool { return p.Multihop > 0 })
	ways, err := fib.Ways(far)
	if err != nil {
		return err
	}
	ended := n.endCut(ctx, e, sessions, ways)
	paths, err := n.take(e, rules, sessions)
	if err != nil || ctx.Err() != nil {
		return errors.Join(ended, err)
	}
	routes, err := n.routesFor(paths, sessions, ways)
	return errors.Join(ended, err, fib.Apply(routes))
}

// holding tells whether the kernel's routes are to stay as they are: the speaker has restarted, and some peer, or router
// of an unnumbered one, has yet to say what it has.
func (n *Node) holding(peers []speaker.Peer, sessions []engine.Session) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.holdUntil.IsZero() {
		return false
	}
	waiting := slices.ContainsFunc(peers, func(p speaker.Peer) bool {
		return !slices.ContainsFunc(sessions, func(s engine.Session) bool { return s.Peer.Name == p.Name && s.Complete })
	})
	left := time.Until(n.holdUntil)
	if waiting && left > 0 {
		time.AfterFunc(left, n.routes.Fire)
		return true
	}
	n.holdUntil, n.restarting = time.Time{}, false
	return false
}

// endCut ends the sessions with routers on links without carrier, as BIRD does, rather than after the hold time: nothing
// but a new session tells what the router has, and of the node, when the link is back.
func (n *Node) endCut(ctx context.Context, e *engine.Engine, sessions []engine.Session, ways *kernel.Ways) error {
	var errs []error
	for _, s := range sessions {
		if s.State == speaker.Established && s.Peer.Multihop == 0 && ways.Cut(s.Address.WithZone(""), s.Peer.Interface) {
			n.log.Warn("the link has no carrier: the session ends", "peer", s.Peer.Name, "router", s.Address)
			errs = append(errs, e.Reset(ctx, s.Neighbor, "no carrier"))
		}
	}
	return errors.Join(errs...)
}

// take returns what is taken from each session.
func (n *Node) take(e *engine.Engine, rules rib.Rules, sessions []engine.Session) ([]rib.Path, error) {
	n.mu.Lock()
	before := n.taken
	n.mu.Unlock()
	taken := map[string]map[netip.Prefix]bool{}
	var all []rib.Path
	for _, s := range sessions {
		received, err := e.Received(s.Neighbor)
		if err != nil {
			return nil, err
		}
		mine := map[netip.Prefix]bool{}
		for _, v4 := range []bool{true, false} {
			var some []rib.Path
			for _, p := range received {
				if p.Prefix.Addr().Is4() == v4 && rules.Takes(s.Peer, p.Prefix) {
					some = append(some, p)
				}
			}
			for _, p := range rib.Limit(some, s.Peer.MaxPrefixes, before[s.Name()]) {
				mine[p.Prefix] = true
				all = append(all, p)
			}
		}
		taken[s.Name()] = mine
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taken = taken
	return all, nil
}

// routesFor returns the routes to install: for each prefix that the node does not announce itself, by the best of the paths
// whose next hop it can reach. The error tells of those that it cannot.
func (n *Node) routesFor(paths []rib.Path, sessions []engine.Session, ways *kernel.Ways) (map[netip.Prefix][]kernel.Hop, error) {
	of := map[string]engine.Session{}
	for _, s := range sessions {
		of[s.Name()] = s
	}
	hops := map[rib.Path]kernel.Hop{}
	reachable := map[netip.Prefix][]rib.Path{}
	var lost []rib.Path
	for _, p := range paths {
		hop, ok := hopOf(p, of[p.Session], ways)
		if !ok {
			lost = append(lost, p)
			continue
		}
		hops[p] = hop
		reachable[p.Prefix] = append(reachable[p.Prefix], p)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	routes := map[netip.Prefix][]kernel.Hop{}
	for prefix, paths := range reachable {
		if n.announced.Has(prefix) {
			continue
		}
		for _, p := range rib.Best(paths) {
			routes[prefix] = append(routes[prefix], hops[p])
		}
		routes[prefix] = kernel.Sorted(routes[prefix])
	}
	return routes, unreachable(lost)
}

// unreachable tells of each session the first of the next hops that cannot be reached: what it says stays the same while
// prefixes come and go.
func unreachable(lost []rib.Path) error {
	first := map[string]netip.Addr{}
	for _, p := range lost {
		hop := p.NextHop
		if !hop.IsValid() {
			hop = p.LinkLocal
		}
		if before, there := first[p.Session]; !there || hop.Less(before) {
			first[p.Session] = hop
		}
	}
	var errs []error
	for _, session := range slices.Sorted(maps.Keys(first)) {
		errs = append(errs, fmt.Errorf("reach next hop %s of what %s announces: no link that is up leads there", first[session], session))
	}
	return errors.Join(errs...)
}

// hopOf returns where packets by the path go: to the next hop on a link, else to its link-local address on the session's,
// and for a peer that is further away, on the way to the next hop.
func hopOf(p rib.Path, s engine.Session, ways *kernel.Ways) (kernel.Hop, bool) {
	if s.Peer.Multihop > 0 {
		if !p.NextHop.IsValid() {
			return kernel.Hop{}, false
		}
		return ways.Far(p.NextHop)
	}
	if p.NextHop.IsValid() {
		if hop, ok := ways.Direct(p.NextHop, s.Peer.Interface); ok {
			return hop, true
		}
	}
	if p.LinkLocal.IsValid() && s.Peer.Interface != "" {
		return ways.Direct(p.LinkLocal, s.Peer.Interface)
	}
	return kernel.Hop{}, false
}
