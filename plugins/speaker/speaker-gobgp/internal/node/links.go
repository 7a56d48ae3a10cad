// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"net/netip"
	"slices"

	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/unnumbered"
)

// link is the link of an unnumbered peer.
type link struct {
	name    string
	stop    context.CancelFunc
	routers []netip.Addr // with a zone
}

// found returns the routers on the link, none for no link.
func (l *link) found() []netip.Addr {
	if l == nil {
		return nil
	}
	return l.routers
}

// followLinks has each link of an unnumbered peer followed, and no other.
func (n *Node) followLinks() {
	wanted := map[string]string{}
	for _, p := range n.config.Peers {
		if p.Unnumbered() {
			wanted[p.Name] = p.Interface
		}
	}
	for peer, l := range n.links {
		if wanted[peer] != l.name {
			l.stop()
			delete(n.links, peer)
		}
	}
	for peer, name := range wanted {
		if n.links[peer] == nil {
			n.links[peer] = n.follow(name)
		}
	}
}

func (n *Node) follow(name string) *link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{name: name, stop: cancel}
	n.tasks.Go(func() {
		unnumbered.Link{Name: name, Log: n.log, Found: func(a netip.Addr) { n.foundRouter(ctx, l, a) }}.Run(ctx)
	})
	return l
}

// foundRouter has a router of a link's expected to connect.
func (n *Node) foundRouter(ctx context.Context, l *link, a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a = a.WithZone(l.name)
	if ctx.Err() != nil || n.engine == nil || slices.Contains(l.routers, a) || len(l.routers) >= unnumbered.MaxRouters {
		return
	}
	l.routers = append(l.routers, a)
	if err := n.engine.Configure(n.neighbors()); err != nil {
		n.log.Error("expect a router of an unnumbered peer", "router", a, "error", err)
	}
}

func (n *Node) stopLinks() {
	for _, l := range n.links {
		l.stop()
	}
}
