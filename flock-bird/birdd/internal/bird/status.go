// SPDX-License-Identifier: Apache-2.0

package bird

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/birdctl"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// Status asks BIRD. See [speaker.Speaker].
func (s *Speaker) Status(ctx context.Context, announced []netip.Prefix) (speaker.Status, error) {
	conn, err := birdctl.Dial(ctx, s.Socket)
	if err != nil {
		return speaker.Status{}, err
	}
	defer conn.Close()
	is, err := conn.Status(ctx)
	if err != nil {
		return speaker.Status{}, err
	}
	out := speaker.Status{Version: is.Version, Sent: map[netip.Prefix][]string{}}
	out.RouterID, _ = netip.ParseAddr(is.RouterID) // BIRD writes an address
	protocols, err := conn.ShowProtocolsAll(ctx)
	if err != nil {
		return speaker.Status{}, err
	}
	protocols = ours(protocols)
	for _, p := range protocols {
		out.Sessions = append(out.Sessions, session(p))
		if err := sent(ctx, conn, p, announced, out.Sent); err != nil {
			return speaker.Status{}, err
		}
	}
	return out, nil
}

// ours returns the protocols of flock's peers by peer and name, without the passive ones of unnumbered peers that have others.
func ours(all []birdctl.Protocol) []birdctl.Protocol {
	all = slices.DeleteFunc(all, func(p birdctl.Protocol) bool { return p.Type != "BGP" || peerOf(p) == "" })
	answered := func(p birdctl.Protocol) bool {
		return p.BGPState == "Passive" && slices.ContainsFunc(all, func(other birdctl.Protocol) bool {
			return peerOf(other) == peerOf(p) && other.Name != p.Name
		})
	}
	var kept []birdctl.Protocol
	for _, p := range all {
		if !answered(p) {
			kept = append(kept, p)
		}
	}
	slices.SortFunc(kept, func(a, b birdctl.Protocol) int {
		return cmp.Or(cmp.Compare(peerOf(a), peerOf(b)), cmp.Compare(a.Name, b.Name))
	})
	return kept
}

// peerOf returns the peer of the NodeConfig that the protocol is of, "" for none.
func peerOf(p birdctl.Protocol) string {
	peer, is := v1alpha1.PeerName(p.Name)
	if !is {
		return ""
	}
	return peer
}

func session(p birdctl.Protocol) speaker.Session {
	s := speaker.Session{Peer: peerOf(p), Name: p.Name, Address: p.Neighbor, ASN: p.NeighborASN, State: state(p.BGPState), LastError: p.LastError}
	if since, known := p.SinceTime(); known {
		s.Since = since
	}
	for _, c := range p.Channels {
		s.Families = append(s.Families, speaker.Family{Name: c.Name, Received: c.Imported, Exported: c.Exported})
	}
	return s
}

// state returns BIRD's word for a state in BGP's, which differs for these.
func state(word string) speaker.State {
	switch word {
	case "Passive": // it waits for the router to connect
		return speaker.Active
	case "", "Down", "Close":
		return speaker.Idle
	}
	return speaker.State(word)
}

// sent notes which of the prefixes the protocol's peer was sent.
func sent(ctx context.Context, conn *birdctl.Conn, p birdctl.Protocol, announced []netip.Prefix, to map[netip.Prefix][]string) error {
	for _, prefix := range announced {
		if !p.Established() || !carries(p, prefix) {
			continue
		}
		was, err := conn.Exported(ctx, prefix, p.Name)
		if err != nil {
			return err
		}
		if was {
			to[prefix] = append(to[prefix], p.Name)
		}
	}
	return nil
}

func carries(p birdctl.Protocol, prefix netip.Prefix) bool {
	name := "ipv6"
	if prefix.Addr().Is4() {
		name = "ipv4"
	}
	return slices.ContainsFunc(p.Channels, func(c birdctl.Channel) bool { return c.Name == name && c.State == "UP" })
}
