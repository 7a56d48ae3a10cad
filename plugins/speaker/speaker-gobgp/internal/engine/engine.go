// SPDX-License-Identifier: Apache-2.0

// Package engine holds BGP sessions by GoBGP. GoBGP's own table holds what the node announces and nothing else; what
// routers announce stays apart, router by router, for others to choose from.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"flock.fritzlab.net/flock/plugins/speaker"
)

// families are those that sessions may carry.
var families = []bgp.Family{bgp.RF_IPv4_UC, bgp.RF_IPv6_UC}

// Identity is what all sessions share; they end when it changes.
type Identity struct {
	ASN      uint32
	RouterID netip.Addr
}

// Engine is one running GoBGP.
type Engine struct {
	Identity
	bgp     *server.BgpServer
	failure *failures
	unwatch context.CancelFunc

	mu        sync.Mutex
	neighbors map[netip.Addr]Neighbor
	announced map[netip.Prefix]bool
	policies  *api.SetPoliciesRequest // as set last
}

// Start starts GoBGP without neighbors. It calls changed whenever what routers announce may have changed, or a session's
// state; changed must not wait for the engine.
func Start(id Identity, log *slog.Logger, changed func()) (*Engine, error) {
	f := newFailures()
	e := &Engine{
		Identity: id, failure: f, neighbors: map[netip.Addr]Neighbor{}, announced: map[netip.Prefix]bool{},
		bgp: server.NewBgpServer(server.LoggerOption(slog.New(f.handler(log.Handler())), nil)),
	}
	go e.bgp.Serve()
	ctx, cancel := context.WithCancel(context.Background())
	e.unwatch = cancel
	if err := e.start(ctx, changed); err != nil {
		cancel()
		e.bgp.Stop()
		return nil, err
	}
	return e, nil
}

func (e *Engine) start(ctx context.Context, changed func()) error {
	err := e.bgp.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: e.ASN, RouterId: e.RouterID.String(), Families: []uint32{0, 1}, // IPv4 and IPv6 unicast
		ListenPort: bgp.BGP_PORT, ListenAddresses: listenAddresses(),
	}})
	if err != nil {
		return fmt.Errorf("start GoBGP: %w", err)
	}
	if err := e.initPolicy(ctx); err != nil {
		return err
	}
	return e.bgp.WatchEvent(ctx, server.WatchEventMessageCallbacks{
		OnPathUpdate: func([]*apiutil.Path, time.Time) { changed() },
		OnPathEor:    func(*apiutil.Path, time.Time) { changed() },
		OnPeerUpdate: func(ev *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
			e.failure.state(ev.Peer.State, at)
			changed()
		},
	}, server.WatchUpdate(false, "", ""), server.WatchAdjInWithdraw(), server.WatchEor(false), server.WatchPeer())
}

// listenAddresses leaves IPv6 out where the kernel has none.
func listenAddresses() []string {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		return []string{"0.0.0.0"}
	}
	return []string{"0.0.0.0", "::"}
}

// Stop ends all sessions: gracefully by closing the connections of those that have agreed on graceful restart, so that
// routers keep their routes; all others by telling them.
func (e *Engine) Stop(ctx context.Context, graceful bool) error {
	defer e.unwatch()
	if graceful {
		return e.bgp.StopBgp(ctx, &api.StopBgpRequest{AllowGracefulRestart: true})
	}
	err := e.shutDown(ctx)
	e.bgp.Stop()
	return err
}

// goodbye is how long routers may take to be told that their sessions end.
const goodbye = 2 * time.Second

// shutDown tells routers that their sessions end, and returns when they have been told. GoBGP would tell them when it
// stops, but closes the connections that routers have opened at the same time.
func (e *Engine) shutDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	sessions, err := e.Sessions(ctx)
	for _, s := range sessions {
		err = errors.Join(err, e.bgp.DisablePeer(ctx, &api.DisablePeerRequest{Address: s.Name()}))
	}
	up := func(s Session) bool { return s.State == speaker.Established }
	for err == nil && slices.ContainsFunc(sessions, up) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("end the sessions: %w", ctx.Err())
		case <-time.After(goodbye / 400):
		}
		sessions, err = e.Sessions(ctx)
	}
	return err
}

// Configure has sessions with these neighbors and with nobody else. A neighbor that is as before keeps its session.
func (e *Engine) Configure(neighbors []Neighbor) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	want := map[netip.Addr]Neighbor{}
	for _, n := range neighbors {
		want[n.Address] = n
	}
	var errs []error
	var attributes []netip.Addr // of whose announcements changed
	for addr, old := range e.neighbors {
		now, wanted := want[addr]
		switch {
		case !wanted || !old.sameSession(now, e.ASN):
			errs = append(errs, e.remove(old))
		case !old.sameAttributes(now):
			attributes = append(attributes, addr)
			fallthrough
		default:
			e.neighbors[addr] = now
		}
	}
	errs = append(errs, e.setPolicy(want))
	for addr, n := range want {
		if _, there := e.neighbors[addr]; !there {
			errs = append(errs, e.add(n))
		}
	}
	for _, addr := range attributes {
		errs = append(errs, e.sendAgain(addr))
	}
	return errors.Join(errs...)
}

func (e *Engine) add(n Neighbor) error {
	for addr, other := range e.neighbors {
		if addr.WithZone("") == n.Address.WithZone("") && !other.sameAttributes(n) {
			return fmt.Errorf("add peer %s: its router has the address of peer %s's, on another link, and GoBGP cannot tell them "+
				"apart in what it announces: give both peers the same communities, med and localPref", n.Peer.Name, other.Peer.Name)
		}
	}
	if err := e.bgp.AddPeer(context.Background(), &api.AddPeerRequest{Peer: n.peer(e.ASN)}); err != nil {
		return fmt.Errorf("add peer %s: %w", n.Peer.Name, err)
	}
	e.neighbors[n.Address] = n
	return nil
}

// remove ends the session. GoBGP's own removal leaves the password on the listening socket, and with it nobody could
// connect from the address without; a change takes it off.
func (e *Engine) remove(n Neighbor) error {
	ctx := context.Background()
	if p := n.peer(e.ASN); p.Conf.AuthPassword != "" {
		p.Conf.AuthPassword = ""
		if _, err := e.bgp.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: p}); err != nil {
			return fmt.Errorf("remove the password of peer %s: %w", n.Peer.Name, err)
		}
	}
	delete(e.neighbors, n.Address)
	e.failure.forget(n.Address)
	if err := e.bgp.DeletePeer(ctx, &api.DeletePeerRequest{Address: n.Address.String()}); err != nil {
		return fmt.Errorf("remove peer %s: %w", n.Peer.Name, err)
	}
	return nil
}

// sendAgain announces everything to the neighbor again.
func (e *Engine) sendAgain(addr netip.Addr) error {
	err := e.bgp.ResetPeer(context.Background(), &api.ResetPeerRequest{
		Address: addr.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT})
	if err != nil {
		return fmt.Errorf("announce to %s again: %w", addr, err)
	}
	return nil
}

// Reset ends the session, for what is said to be the reason, and has it begin again.
func (e *Engine) Reset(ctx context.Context, n Neighbor, reason string) error {
	if err := e.bgp.ResetPeer(ctx, &api.ResetPeerRequest{Address: n.Name(), Communication: reason}); err != nil {
		return fmt.Errorf("end the session with %s: %w", n.Name(), err)
	}
	return nil
}

// Announce announces the prefix, or no more. Doing so twice does nothing.
func (e *Engine) Announce(p netip.Prefix, announce bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.announced[p] == announce {
		return nil
	}
	path, err := originate(p)
	if err == nil && announce {
		_, err = e.bgp.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{path}})
	} else if err == nil {
		err = e.bgp.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{path}})
	}
	if err != nil {
		return fmt.Errorf("announce %s: %w", p, err)
	}
	if announce {
		e.announced[p] = true
	} else {
		delete(e.announced, p)
	}
	return nil
}

// Announced returns what is announced now, in no order.
func (e *Engine) Announced() []netip.Prefix {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]netip.Prefix, 0, len(e.announced))
	for p := range e.announced {
		list = append(list, p)
	}
	return list
}

// originate returns the path of a prefix of the node's own: GoBGP puts the node's end of each session in the place of the
// unspecified next hop.
func originate(p netip.Prefix) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(p)
	if err != nil {
		return nil, err
	}
	path := &apiutil.Path{Family: familyOf(p), Nlri: nlri, Age: time.Now().Unix()}
	origin := bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP)
	if p.Addr().Is4() {
		hop, err := bgp.NewPathAttributeNextHop(netip.IPv4Unspecified())
		path.Attrs = []bgp.PathAttributeInterface{origin, hop}
		return path, err
	}
	reach, err := bgp.NewPathAttributeMpReachNLRI(path.Family, []bgp.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
	path.Attrs = []bgp.PathAttributeInterface{origin, reach}
	return path, err
}

func familyOf(p netip.Prefix) bgp.Family {
	if p.Addr().Is4() {
		return bgp.RF_IPv4_UC
	}
	return bgp.RF_IPv6_UC
}
