// SPDX-License-Identifier: Apache-2.0

// Package birdconf renders BIRD's configuration. Everything that goes into the text is a number, an
// address, a prefix, or a name or password of an allow-list of characters: BIRD's strings know no
// escapes, so that quoting would be no defence.
package birdconf

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"text/template"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/speaker"
)

//go:embed bird.conf.tmpl
var text string

// Bootstrap is a configuration for BIRD to start with where birdd has not rendered one yet.
//
//go:embed bootstrap.conf
var Bootstrap []byte

var tmpl = template.Must(template.New("bird.conf").Funcs(template.FuncMap{
	"seconds": func(d time.Duration) int { return int(d / time.Second) },
}).Parse(text))

// KernelAnnounce4 is the protocol that learns the announcement table's IPv4 routes.
const KernelAnnounce4 = "kernel_announce4"

// Render returns bird.conf. The same config gives the same text.
func Render(c speaker.Config) ([]byte, error) {
	var out bytes.Buffer
	if err := tmpl.Execute(&out, newView(c)); err != nil {
		return nil, fmt.Errorf("render bird.conf: %w", err)
	}
	return out.Bytes(), nil
}

// view is what the template sees.
type view struct {
	speaker.Config
	Proto      int
	Families   []family
	Peers      []peer
	Unnumbered []string
	// IGP tells whether a multihop peer's next hops have to be resolved, BFD whether a peer uses it.
	IGP, BFD bool
}

// family is one address family: N is 4 or 6, Bits 32 or 128, the rest are sets of prefixes in BIRD's syntax, empty
// where there is none.
type family struct {
	N, Bits                      int
	Summaries, ExportAccept, Own string
}

type peer struct {
	speaker.Peer
	Protocol, Dynamic string
	Secret            string
	Channels          []channel
}

// Watch returns the peer's BFD in BIRD's words, "" for none.
func (p peer) Watch() string {
	return map[speaker.BFD]string{speaker.BFDImmediate: "on", speaker.BFDGraceful: "graceful"}[p.BFD]
}

type channel struct {
	N               int
	ImportAccept    string
	ExtendedNextHop bool
}

func newView(c speaker.Config) view {
	v := view{Config: c, Proto: int(rtnl.Proto)}
	for _, p := range c.Peers {
		v.add(newPeer(p))
	}
	own := slices.Concat(c.Own, linkPeers(c.Peers))
	for _, n := range []int{4, 6} {
		v.Families = append(v.Families, newFamily(n, c, own))
	}
	return v
}

func (v *view) add(p peer) {
	v.Peers = append(v.Peers, p)
	v.BFD = v.BFD || p.BFD != speaker.BFDOff
	v.IGP = v.IGP || p.Multihop != 0
	if p.Unnumbered() {
		v.Unnumbered = append(v.Unnumbered, p.Interface)
	}
}

func newPeer(p speaker.Peer) peer {
	out := peer{
		Peer: p, Secret: p.Password.Reveal(),
		Protocol: v1alpha1.ProtocolName(p.Name), Dynamic: v1alpha1.DynamicName(p.Name),
	}
	for _, n := range []int{4, 6} {
		if n == 4 && !p.IPv4 || n == 6 && !p.IPv6 {
			continue
		}
		out.Channels = append(out.Channels, channel{
			N:               n,
			ImportAccept:    importSet(n, p.ImportAccept),
			ExtendedNextHop: n == 4 && !p.Address.Is4(),
		})
	}
	return out
}

// linkPeers returns the addresses of the peers that are on a link of the node.
func linkPeers(peers []speaker.Peer) []netip.Addr {
	var addrs []netip.Addr
	for _, p := range peers {
		if p.Multihop == 0 && p.Address.IsValid() {
			addrs = append(addrs, p.Address)
		}
	}
	return addrs
}
