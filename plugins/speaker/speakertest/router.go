// SPDX-License-Identifier: Apache-2.0

package speakertest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
)

// start starts BIRD with an ordinary router's configuration around the text, in which N stands for the router's number
// and SESSION for what every session of it has.
func (r *router) start(text string) {
	r.w.Helper()
	conf := r.write(text)
	var err error
	r.bird, err = r.StartBird(r.w.ctx, conf, filepath.Join(filepath.Dir(conf), "bird.ctl"))
	r.w.must(err)
}

// write writes the configuration and returns its path.
func (r *router) write(text string) string {
	r.w.Helper()
	conf := filepath.Join(r.w.folder, fmt.Sprintf("router%d", r.index), "bird.conf")
	r.w.must(os.MkdirAll(filepath.Dir(conf), 0o755))
	const base = `
router id 10.255.0.N;
protocol device {}
protocol kernel kernel6 { ipv6 { export where source = RTS_BGP; }; merge paths on; }
protocol kernel kernel4 { ipv4 { export where source = RTS_BGP; }; merge paths on; }
`
	const session = `connect delay time 1; connect retry time 1; error wait time 1, 2; graceful restart on; local as 64500;`
	full := strings.NewReplacer("SESSION", session, "N", fmt.Sprint(r.index)).Replace(base + text)
	r.w.must(os.WriteFile(conf, []byte(full), 0o600))
	return conf
}

// reload has BIRD go by another text.
func (r *router) reload(text string) {
	r.w.Helper()
	r.write(text)
	_, err := r.bird.Ask(r.w.ctx, "configure")
	r.w.must(err)
}

// show returns what BIRD knows of a prefix.
func (r *router) show(prefix string) string {
	r.w.Helper()
	out, err := r.bird.Ask(r.w.ctx, "show route all "+prefix)
	r.w.must(err)
	return out
}

// router6 is a router with one IPv6 session, which gives the node a default route, router46 one with a session for
// each family.
const (
	router6 = `
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol bgp node6 { SESSION neighbor fd00:N::2 as 64512; ipv6 { import all; export all; }; }
`
	router46 = router6 + `
protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }
protocol bgp node4 { SESSION neighbor 10.0.N.2 as 64512; ipv4 { import all; export all; }; }
`
)

// tor6 and tor4 are the router's two sessions as the node configures them.
func tor6(n int) speaker.Peer { return tor(fmt.Sprintf("tor%d-v6", n), fmt.Sprintf("fd00:%d::1", n)) }

func tor4(n int) speaker.Peer { return tor(fmt.Sprintf("tor%d-v4", n), fmt.Sprintf("10.0.%d.1", n)) }

func tor(name, address string) speaker.Peer {
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
		for _, p := range ends(i+1, 2) {
			c.Own = append(c.Own, p.Addr())
		}
	}
	return c
}
