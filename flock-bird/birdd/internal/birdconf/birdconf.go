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
	"strings"
	"text/template"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/internal/rtnl"
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

// Input is what the configuration depends on.
type Input struct {
	Config *v1alpha1.Config
	// Table is the kernel table that holds what to announce.
	Table uint32
	// Own are the addresses of the node's links.
	Own []netip.Addr
	// Passwords holds the password of each peer that has one; a peer that should and is not in it is
	// left out of the configuration.
	Passwords map[string]password.Password
}

// Peers returns how many peers the configuration has, those left out apart.
func (in Input) Peers() int { return len(newView(in).Peers) }

// Render returns bird.conf. The same input in any order gives the same text.
func Render(in Input) ([]byte, error) {
	var out bytes.Buffer
	if err := tmpl.Execute(&out, newView(in)); err != nil {
		return nil, fmt.Errorf("render bird.conf: %w", err)
	}
	return out.Bytes(), nil
}

// view is what the template sees.
type view struct {
	Name       string
	RouterID   netip.Addr
	LocalASN   uint32
	Table      uint32
	Proto      int
	Families   []family
	Peers      []peer
	LeftOut    []string
	Unnumbered []string
	// IGP tells whether a multihop peer's next hops have to be resolved, BFD whether a peer uses it.
	IGP, BFD bool
}

// family is one address family: N is 4 or 6, Bits 32 or 128, the rest are sets of prefixes in BIRD's syntax, empty
// where there is none.
type family struct {
	N, Bits                  int
	Pools, ExportAccept, Own string
}

type peer struct {
	v1alpha1.PeerConfig
	Protocol, Dynamic string
	Secret            string
	Channels          []channel
}

type channel struct {
	N               int
	ImportAccept    string
	ExtendedNextHop bool
}

func newView(in Input) view {
	bgp := in.Config.BGP
	if bgp == nil {
		bgp = &v1alpha1.BGPConfig{RouterID: v1alpha1.RouterID(in.Config.Name)}
	}
	v := view{Name: in.Config.Name, RouterID: bgp.RouterID, LocalASN: bgp.LocalASN, Table: in.Table, Proto: int(rtnl.Proto)}
	peers := slices.Clone(bgp.Peers)
	slices.SortFunc(peers, func(a, b v1alpha1.PeerConfig) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range peers {
		if p.Password == nil {
			v.add(newPeer(p, ""))
		} else if secret, ok := in.Passwords[p.Name]; ok {
			v.add(newPeer(p, secret.Reveal()))
		} else {
			v.LeftOut = append(v.LeftOut, p.Name)
		}
	}
	own := slices.Concat(in.Own, linkPeers(peers))
	for _, n := range []int{4, 6} {
		v.Families = append(v.Families, newFamily(n, in, bgp, own))
	}
	return v
}

func (v *view) add(p peer) {
	v.Peers = append(v.Peers, p)
	v.BFD = v.BFD || p.BFD != ""
	v.IGP = v.IGP || p.Multihop != 0
	if p.PeerConfig.Unnumbered() {
		v.Unnumbered = append(v.Unnumbered, p.Interface)
	}
}

func newPeer(p v1alpha1.PeerConfig, secret string) peer {
	out := peer{
		PeerConfig: p, Secret: secret,
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
func linkPeers(peers []v1alpha1.PeerConfig) []netip.Addr {
	var addrs []netip.Addr
	for _, p := range peers {
		if p.Multihop == 0 && p.Address.IsValid() {
			addrs = append(addrs, p.Address)
		}
	}
	return addrs
}
