// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/birdctl"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
)

// askKernel fills in the summaries and the addresses.
func (r *Report) askKernel(table uint32) error {
	conn, err := rtnl.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	names, err := linkNames()
	if err != nil {
		return err
	}
	summaries, addresses := map[netip.Prefix]*Summary{}, map[netip.Addr]*Address{}
	for _, family := range []int{unix.AF_INET6, unix.AF_INET} {
		main, err := conn.Routes(family, rtnl.Route{Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto})
		if err != nil {
			return err
		}
		announced, err := conn.Routes(family, rtnl.Route{Table: table, Proto: rtnl.ProtoAnnounce})
		if err != nil {
			return err
		}
		for _, route := range slices.Concat(main, announced) {
			if route.Type != unix.RTN_UNICAST {
				addSummary(summaries, route)
			}
		}
		for _, route := range announced {
			if route.Type == unix.RTN_UNICAST && route.Dst.IsSingleIP() {
				addAddress(addresses, route, names)
			}
		}
	}
	r.Summaries = sorted(summaries, func(a, b Summary) int { return a.Prefix.Compare(b.Prefix) })
	r.Addresses = sorted(addresses, func(a, b Address) int { return a.Address.Compare(b.Address) })
	return nil
}

func addSummary(all map[netip.Prefix]*Summary, route rtnl.Route) {
	s := all[route.Dst]
	if s == nil {
		s = &Summary{Prefix: route.Dst, SentTo: []string{}}
		all[route.Dst] = s
	}
	switch {
	case route.Table != unix.RT_TABLE_MAIN:
		s.Announced = true
	case route.Type == unix.RTN_UNREACHABLE:
		s.Main = string(v1alpha1.SummaryUnreachable)
	default:
		s.Main = string(v1alpha1.SummaryBlackhole)
	}
}

// addAddress takes an anycast address by what flock-bird and birdd make of one: a nexthop group, or a
// metric of each link's own.
func addAddress(all map[netip.Addr]*Address, route rtnl.Route, names map[int]string) {
	a := all[route.Dst.Addr()]
	if a == nil {
		a = &Address{Address: route.Dst.Addr(), Announced: true}
		all[a.Address] = a
	}
	a.Anycast = a.Anycast || route.Group != 0 || route.Metric != rtnl.Metric
	name, known := names[route.Link]
	if !known {
		name = "#" + strconv.Itoa(route.Link)
	}
	a.Links = append(a.Links, name)
	slices.Sort(a.Links)
}

// AskStore adds which pods have the addresses, and the anycast addresses that are not announced, from what
// flock-bird noted in the state folder's store.
func (r *Report) AskStore(stateDir string) error {
	keeper := claim.Keeper{Store: store.Store{Dir: stateDir, ReadOnly: true}, Stage: announce.Stage}
	claims, err := keeper.All()
	if err != nil {
		return err
	}
	known := map[netip.Addr]*Address{}
	for i := range r.Addresses {
		known[r.Addresses[i].Address] = &r.Addresses[i]
	}
	for _, c := range claims {
		for _, addr := range c.Anycast {
			if known[addr] == nil {
				known[addr] = &Address{Address: addr, Anycast: true, Links: []string{}}
			}
		}
		for _, addr := range c.Addresses() {
			if a := known[addr]; a != nil && c.Pod.String() != "" {
				a.Pods = append(a.Pods, c.Pod.String())
			}
		}
	}
	for _, a := range known {
		slices.Sort(a.Pods)
		a.Pods = slices.Compact(a.Pods)
	}
	r.Addresses = sorted(known, func(a, b Address) int { return a.Address.Compare(b.Address) })
	return nil
}

func sorted[K comparable, V any](all map[K]*V, order func(a, b V) int) []V {
	list := make([]V, 0, len(all))
	for _, v := range all {
		list = append(list, *v)
	}
	slices.SortFunc(list, order)
	return list
}

func linkNames() (map[int]string, error) {
	h, err := rtnl.Open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := rtnl.Dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, nil
}

// askBIRD fills in the sessions and what was sent over them.
func (r *Report) askBIRD(ctx context.Context, socket string) error {
	conn, err := birdctl.Dial(ctx, socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	bird, err := conn.Status(ctx)
	if err != nil {
		return err
	}
	r.BIRD.Version, r.BIRD.RouterID = bird.Version, bird.RouterID
	protocols, err := conn.ShowProtocolsAll(ctx)
	if err != nil {
		return err
	}
	for _, p := range protocols {
		if peer, is := v1alpha1.PeerName(p.Name); is && p.Type == "BGP" {
			r.Sessions = append(r.Sessions, session(peer, p))
			if err := r.askExported(ctx, conn, p); err != nil {
				return err
			}
		}
	}
	r.Sessions = slices.DeleteFunc(r.Sessions, r.answered)
	slices.SortFunc(r.Sessions, func(a, b Session) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Protocol, b.Protocol))
	})
	return nil
}

func session(peer string, p birdctl.Protocol) Session {
	s := Session{
		Peer: peer, Protocol: p.Name, Address: p.Neighbor, ASN: p.NeighborASN, State: cmp.Or(p.BGPState, "Down"),
		Since: p.Since, Received: p.Imported(), Exported: p.Exported(), LastError: p.LastError,
	}
	for _, c := range p.Channels {
		s.Families = append(s.Families, Family{c.Name, c.Imported, c.Exported})
	}
	return s
}

// answered tells whether a session is the passive one of an unnumbered peer that has others.
func (r *Report) answered(s Session) bool {
	return s.State == "Passive" && slices.ContainsFunc(r.Sessions, func(other Session) bool {
		return other.Peer == s.Peer && other.Protocol != s.Protocol
	})
}

// askExported notes which summaries the protocol's peer was sent.
func (r *Report) askExported(ctx context.Context, conn *birdctl.Conn, p birdctl.Protocol) error {
	for i := range r.Summaries {
		s := &r.Summaries[i]
		if !p.Established() || !carries(p, s.Prefix) {
			continue
		}
		sent, err := conn.Exported(ctx, s.Prefix, p.Name)
		if err != nil {
			return err
		}
		if sent {
			s.SentTo = append(s.SentTo, p.Name)
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
