// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/rib"
)

// Session is how the session with a neighbor is.
type Session struct {
	Neighbor
	State speaker.State
	// Since is when it came into the state, zero where GoBGP does not say.
	Since time.Time
	// LastError is why it is not established.
	LastError string
	// Deferring tells that nothing is announced yet: the speaker has restarted, and waits for its peers.
	Deferring bool
	// Complete tells that the session is up and that the router has sent all its routes, or will not say when it has.
	Complete bool
	// Updates counts the router's updates.
	Updates uint64
}

var states = map[api.PeerState_SessionState]speaker.State{
	api.PeerState_SESSION_STATE_CONNECT: speaker.Connect, api.PeerState_SESSION_STATE_ACTIVE: speaker.Active,
	api.PeerState_SESSION_STATE_OPENSENT: speaker.OpenSent, api.PeerState_SESSION_STATE_OPENCONFIRM: speaker.OpenConfirm,
	api.PeerState_SESSION_STATE_ESTABLISHED: speaker.Established,
}

// Sessions returns the sessions with all neighbors, ordered by address.
func (e *Engine) Sessions(ctx context.Context) ([]Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []Session
	err := e.bgp.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
		addr, err := netip.ParseAddr(p.Conf.NeighborAddress)
		if n, ours := e.neighbors[addr]; err == nil && ours {
			list = append(list, e.session(n, p))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list GoBGP's sessions: %w", err)
	}
	slices.SortFunc(list, func(a, b Session) int { return a.Address.Compare(b.Address) })
	return list, nil
}

func (e *Engine) session(n Neighbor, p *api.Peer) Session {
	s := Session{
		Neighbor: n, State: states[p.State.SessionState],
		Deferring: p.GracefulRestart.GetLocalRestarting(), Updates: p.State.Messages.GetReceived().GetUpdate(),
	}
	if s.State == "" {
		s.State = speaker.Idle
	}
	s.LastError, s.Since = e.failure.last(n.Address)
	if s.State == speaker.Established {
		s.LastError, s.Complete = "", complete(p)
		if t := p.Timers.GetState().GetUptime(); t != nil {
			s.Since = t.AsTime()
		}
	}
	return s
}

func complete(p *api.Peer) bool {
	return !slices.ContainsFunc(p.AfiSafis, func(f *api.AfiSafi) bool {
		s := f.MpGracefulRestart.GetState()
		return s.GetEnabled() && s.GetReceived() && !s.GetEndOfRibReceived()
	})
}

// Received returns what the neighbor has announced, in both families, but for what has come round to the node's own AS or
// the node itself.
func (e *Engine) Received(n Neighbor) ([]rib.Path, error) {
	var paths []rib.Path
	for _, f := range families {
		if f == bgp.RF_IPv4_UC && !n.Peer.IPv4 || f == bgp.RF_IPv6_UC && !n.Peer.IPv6 {
			continue
		}
		request := apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_ADJ_IN, Name: n.Address.String(), Family: f}
		err := e.bgp.ListPath(request, func(_ bgp.NLRI, received []*apiutil.Path) {
			for _, r := range received {
				if path, ok := e.path(n, r); ok {
					paths = append(paths, path)
				}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("list what %s announces: %w", n.Address, err)
		}
	}
	return paths, nil
}

// Sent returns what is announced to the neighbor.
func (e *Engine) Sent(n Neighbor) (map[netip.Prefix]bool, error) {
	sent := map[netip.Prefix]bool{}
	for _, f := range families {
		request := apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_ADJ_OUT, Name: n.Address.String(), Family: f}
		err := e.bgp.ListPath(request, func(nlri bgp.NLRI, _ []*apiutil.Path) {
			if p, ok := prefixOf(nlri); ok {
				sent[p] = true
			}
		})
		if err != nil {
			return nil, fmt.Errorf("list what is announced to %s: %w", n.Address, err)
		}
	}
	return sent, nil
}

func prefixOf(nlri bgp.NLRI) (netip.Prefix, bool) {
	p, ok := nlri.(*bgp.IPAddrPrefix)
	if !ok {
		return netip.Prefix{}, false
	}
	return p.Prefix, true
}
