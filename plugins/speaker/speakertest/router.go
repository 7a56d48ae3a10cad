// SPDX-License-Identifier: Apache-2.0

package speakertest

import (
	"fmt"
	"net/netip"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/tor"
)

// start is [tor.Router.Start].
func (r *router) start(text string) {
	r.w.Helper()
	r.w.must(r.Start(r.w.ctx, text))
}

// reload is [tor.Router.Reload].
func (r *router) reload(text string) {
	r.w.Helper()
	r.w.must(r.Reload(r.w.ctx, text))
}

// show returns what BIRD knows of a prefix.
func (r *router) show(prefix string) string {
	r.w.Helper()
	out, err := r.Bird.Ask(r.w.ctx, "show route all "+prefix)
	r.w.must(err)
	return out
}

// tor6 and tor4 are the router's two sessions as the node configures them.
func tor6(n int) speaker.Peer { return peer(fmt.Sprintf("tor%d-v6", n), fmt.Sprintf("fd00:%d::1", n)) }

func tor4(n int) speaker.Peer { return peer(fmt.Sprintf("tor%d-v4", n), fmt.Sprintf("10.0.%d.1", n)) }

func peer(name, address string) speaker.Peer {
	addr := netip.MustParseAddr(address)
	return speaker.Peer{
		Name: name, Address: addr, ASN: 64500, IPv4: addr.Is4(), IPv6: addr.Is6(), HoldTime: 90 * time.Second, KeepaliveTime: 30 * time.Second,
		GracefulRestart: true, ImportAccept: accept("::/0", 0, "0.0.0.0/0", 0), MaxPrefixes: 1000,
	}
}

// accept returns what is taken, from prefixes and maximal lengths in turn.
func accept(pairs ...any) []speaker.PrefixMatch {
	var all []speaker.PrefixMatch
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, speaker.PrefixMatch{Prefix: netip.MustParsePrefix(pairs[i].(string)), MaxLength: pairs[i+1].(int)})
	}
	return all
}

// with returns the peer changed.
func with(p speaker.Peer, change func(*speaker.Peer)) speaker.Peer {
	change(&p)
	return p
}

// config is the node's, with these peers.
func (w *world) config(peers ...speaker.Peer) speaker.Config {
	c := speaker.Config{
		Node: "node-1", Table: 7273, LocalASN: 64512, RouterID: netip.MustParseAddr("10.0.1.2"), Peers: peers,
		Summaries:    []netip.Prefix{netip.MustParsePrefix(pool4), netip.MustParsePrefix(pool6)},
		ExportAccept: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	}
	for i := range w.routers {
		for _, p := range tor.Ends(i+1, 2) {
			c.Own = append(c.Own, p.Addr())
		}
	}
	return c
}
