// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"reflect"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"google.golang.org/protobuf/proto"

	"flock.fritzlab.net/flock/plugins/speaker"
)

// Times of sessions, as with BIRD.
const (
	connectRetry = 10 // seconds
	// RestartTime is how long a router keeps the node's routes after a session has ended other than for good.
	RestartTime = 120 * time.Second
	// DeferralTime is how long a restarted speaker waits for its peers at most, before it announces.
	DeferralTime = 10 * time.Second
)

// Neighbor is one router, and what its session is to be like.
type Neighbor struct {
	// Peer is the peer that the router is, or one of whose routers it is where the peer is unnumbered.
	Peer speaker.Peer
	// Address is the router's, with a zone where it is link-local.
	Address netip.Addr
	// Passive leaves it to the router to connect.
	Passive bool
	// Restarting tells the router that the speaker has restarted, and that the node forwarded meanwhile. It counts for a
	// session that is new.
	Restarting bool
}

// Name names the session.
func (n Neighbor) Name() string { return n.Address.String() }

// sameSession tells whether both want the same of the session, but for what is announced in it and taken from it.
func (n Neighbor) sameSession(o Neighbor, asn uint32) bool {
	a, b := n.peer(asn), o.peer(asn)
	a.GracefulRestart.LocalRestarting, b.GracefulRestart.LocalRestarting = false, false
	return proto.Equal(a, b)
}

// sameAttributes tells whether both have the same announced.
func (n Neighbor) sameAttributes(o Neighbor) bool {
	return reflect.DeepEqual(n.actions(), o.actions())
}

// peer is the neighbor in GoBGP's terms.
func (n Neighbor) peer(localASN uint32) *api.Peer {
	p := n.Peer
	out := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: n.Address.String(), PeerAsn: p.ASN, LocalAsn: localASN,
			AuthPassword: p.Password.Reveal(),
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: connectRetry, HoldTime: uint64(p.HoldTime / time.Second), KeepaliveInterval: uint64(p.KeepaliveTime / time.Second),
			IdleHoldTimeAfterReset: 2,
		}},
		Transport: &api.Transport{PassiveMode: n.Passive, LocalAddress: n.localAddress()},
		GracefulRestart: &api.GracefulRestart{
			Enabled: p.GracefulRestart, RestartTime: uint32(RestartTime / time.Second), DeferralTime: uint32(DeferralTime / time.Second),
			LocalRestarting: p.GracefulRestart && n.Restarting,
		},
		EbgpMultihop: &api.EbgpMultihop{Enabled: p.Multihop > 0, MultihopTtl: uint32(p.Multihop)},
	}
	if n.Address.Zone() == "" {
		out.Transport.BindInterface = p.Interface
	}
	for _, f := range families {
		if f == bgp.RF_IPv4_UC && p.IPv4 || f == bgp.RF_IPv6_UC && p.IPv6 {
			out.AfiSafis = append(out.AfiSafis, afiSafi(f, p.GracefulRestart))
		}
	}
	return out
}

// localAddress leaves the choice to the kernel where there is none.
func (n Neighbor) localAddress() string {
	switch {
	case n.Peer.LocalAddress.IsValid():
		return n.Peer.LocalAddress.String()
	case n.Address.Is4():
		return "0.0.0.0"
	}
	return "::"
}

func afiSafi(f bgp.Family, gracefulRestart bool) *api.AfiSafi {
	return &api.AfiSafi{
		Config:            &api.AfiSafiConfig{Enabled: true, Family: &api.Family{Afi: api.Family_Afi(f.Afi()), Safi: api.Family_Safi(f.Safi())}},
		MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: gracefulRestart}},
	}
}
