// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/speaker"
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

// askSpeaker fills in the sessions and what was sent over them.
func (r *Report) askSpeaker(ctx context.Context, asked Asked) error {
	if asked.Err != nil {
		return asked.Err
	}
	var announced []netip.Prefix
	for _, s := range r.Summaries {
		announced = append(announced, s.Prefix)
	}
	is, err := asked.Speaker.Status(ctx, announced)
	if err != nil {
		return err
	}
	r.Speaker.Version, r.Speaker.RouterID = is.Version, is.RouterID
	for _, s := range is.Sessions {
		r.Sessions = append(r.Sessions, session(s))
	}
	for i, s := range r.Summaries {
		r.Summaries[i].SentTo = append(s.SentTo, is.Sent[s.Prefix]...)
	}
	return nil
}

func session(s speaker.Session) Session {
	out := Session{Peer: s.Peer, Name: s.Name, Address: s.Address, ASN: s.ASN, State: s.State, Since: s.Since, LastError: s.LastError}
	for _, f := range s.Families {
		out.Received += f.Received
		out.Exported += f.Exported
		out.Families = append(out.Families, Family(f))
	}
	return out
}
