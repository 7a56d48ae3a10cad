// SPDX-License-Identifier: Apache-2.0

package speaker

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"flock.fritzlab.net/flock/plugins/speaker/proto"
)

func encodeConfig(c Config) *proto.Config {
	return &proto.Config{
		Node: c.Node, Table: c.Table, LocalAsn: c.LocalASN, RouterId: text(c.RouterID),
		Summaries: texts(c.Summaries), ExportAccept: texts(c.ExportAccept), Own: texts(c.Own),
		Peers: each(c.Peers, encodePeer),
	}
}

func encodePeer(p Peer) *proto.Peer {
	return &proto.Peer{
		Name: p.Name, Address: text(p.Address), Interface: p.Interface, LocalAddress: text(p.LocalAddress), Asn: p.ASN,
		Ipv4: p.IPv4, Ipv6: p.IPv6, Password: p.Password.Reveal(), Bfd: proto.BFD(p.BFD),
		HoldTimeSeconds: uint32(p.HoldTime / time.Second), KeepaliveTimeSeconds: uint32(p.KeepaliveTime / time.Second),
		GracefulRestart: p.GracefulRestart, Multihop: uint32(p.Multihop),
		Communities: each(p.Communities, func(c [2]uint16) *proto.Community {
			return &proto.Community{Asn: uint32(c[0]), Value: uint32(c[1])}
		}),
		LargeCommunities: each(p.LargeCommunities, func(c [3]uint32) *proto.LargeCommunity {
			return &proto.LargeCommunity{Administrator: c[0], Data1: c[1], Data2: c[2]}
		}),
		LocalPref: p.LocalPref, Med: p.MED,
		ImportAccept: each(p.ImportAccept, func(m PrefixMatch) *proto.PrefixMatch {
			return &proto.PrefixMatch{Prefix: m.Prefix.String(), MaxLength: uint32(m.MaxLength)}
		}),
		MaxPrefixes: uint32(p.MaxPrefixes),
	}
}

func encodeStatus(s Status) *proto.StatusResponse {
	out := &proto.StatusResponse{Version: s.Version, RouterId: text(s.RouterID), Sessions: each(s.Sessions, encodeSession)}
	for prefix, sessions := range s.Sent {
		out.Sent = append(out.Sent, &proto.Sent{Prefix: prefix.String(), Sessions: sessions})
	}
	return out
}

func encodeSession(s Session) *proto.Session {
	out := &proto.Session{
		Peer: s.Peer, Name: s.Name, Address: text(s.Address), Asn: s.ASN, State: string(s.State), LastError: s.LastError,
		Families: each(s.Families, func(f Family) *proto.Family {
			return &proto.Family{Name: f.Name, Received: uint32(f.Received), Exported: uint32(f.Exported)}
		}),
	}
	if !s.Since.IsZero() {
		out.Since = timestamppb.New(s.Since)
	}
	return out
}

// decoder keeps the first mistake that it meets.
type decoder struct{ err error }

func (d *decoder) wrong(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *decoder) addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		d.wrong("%w", err)
	}
	return a
}

func (d *decoder) prefix(s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		d.wrong("%w", err)
	}
	return p
}

// number returns what is at most as large as it may be.
func (d *decoder) number(what string, n, most uint32) uint32 {
	if n > most {
		d.wrong("%s %d is above %d", what, n, most)
	}
	return n
}

func decodeConfig(in *proto.Config) (Config, error) {
	var d decoder
	c := Config{
		Node: in.GetNode(), Table: in.GetTable(), LocalASN: in.GetLocalAsn(), RouterID: d.addr(in.GetRouterId()),
		Summaries: each(in.GetSummaries(), d.prefix), ExportAccept: each(in.GetExportAccept(), d.prefix),
		Own: each(in.GetOwn(), d.addr), Peers: each(in.GetPeers(), d.peer),
	}
	if d.err != nil {
		return Config{}, fmt.Errorf("understand the configuration: %w", d.err)
	}
	return c, nil
}

func (d *decoder) peer(in *proto.Peer) Peer {
	return Peer{
		Name: in.GetName(), Address: d.addr(in.GetAddress()), Interface: in.GetInterface(), LocalAddress: d.addr(in.GetLocalAddress()),
		ASN: in.GetAsn(), IPv4: in.GetIpv4(), IPv6: in.GetIpv6(), Password: NewPassword(in.GetPassword()),
		BFD:      BFD(d.number("bfd", uint32(in.GetBfd()), uint32(BFDGraceful))),
		HoldTime: time.Duration(in.GetHoldTimeSeconds()) * time.Second, KeepaliveTime: time.Duration(in.GetKeepaliveTimeSeconds()) * time.Second,
		GracefulRestart: in.GetGracefulRestart(), Multihop: int(d.number("multihop", in.GetMultihop(), math.MaxUint8)),
		Communities: each(in.GetCommunities(), func(c *proto.Community) [2]uint16 {
			return [2]uint16{uint16(d.number("community", c.GetAsn(), math.MaxUint16)), uint16(d.number("community", c.GetValue(), math.MaxUint16))}
		}),
		LargeCommunities: each(in.GetLargeCommunities(), func(c *proto.LargeCommunity) [3]uint32 {
			return [3]uint32{c.GetAdministrator(), c.GetData1(), c.GetData2()}
		}),
		LocalPref: in.LocalPref, MED: in.Med,
		ImportAccept: each(in.GetImportAccept(), func(m *proto.PrefixMatch) PrefixMatch {
			return PrefixMatch{d.prefix(m.GetPrefix()), int(d.number("maximum length", m.GetMaxLength(), 128))}
		}),
		MaxPrefixes: int(in.GetMaxPrefixes()),
	}
}

var states = []State{Idle, Connect, Active, OpenSent, OpenConfirm, Established}

// decodeStatus holds the answer to what was asked. Nothing was sent over a session that is not up, whatever it says.
func decodeStatus(in *proto.StatusResponse, announced []netip.Prefix) (Status, error) {
	var d decoder
	s := Status{
		Version: in.GetVersion(), RouterID: d.addr(in.GetRouterId()), Sessions: each(in.GetSessions(), d.session),
		Sent: map[netip.Prefix][]string{},
	}
	slices.SortStableFunc(s.Sessions, func(a, b Session) int { return strings.Compare(a.Peer, b.Peer) })
	for _, sent := range in.GetSent() {
		prefix := d.prefix(sent.GetPrefix())
		if d.err == nil && !slices.Contains(announced, prefix) {
			d.wrong("it tells of %s, which it was not asked for", prefix)
		}
		s.Sent[prefix] = slices.DeleteFunc(sent.GetSessions(), func(name string) bool { return !s.up(name) })
	}
	return s, d.err
}

// up tells whether the session of the name is.
func (s Status) up(name string) bool {
	return slices.ContainsFunc(s.Sessions, func(one Session) bool { return one.Name == name && one.State == Established })
}

func (d *decoder) session(in *proto.Session) Session {
	s := Session{
		Peer: in.GetPeer(), Name: in.GetName(), Address: d.addr(in.GetAddress()), ASN: in.GetAsn(), State: State(in.GetState()),
		LastError: in.GetLastError(), Families: each(in.GetFamilies(), d.family),
	}
	if !slices.Contains(states, s.State) {
		d.wrong("session %s: %q is no state", s.Name, s.State)
	}
	if in.GetSince() != nil {
		s.Since = in.GetSince().AsTime()
	}
	return s
}

func (d *decoder) family(in *proto.Family) Family {
	if in.GetName() != "ipv4" && in.GetName() != "ipv6" {
		d.wrong("%q is no address family", in.GetName())
	}
	return Family{in.GetName(), int(in.GetReceived()), int(in.GetExported())}
}

// each returns what becomes of each; nil of none.
func each[A, B any](in []A, f func(A) B) []B {
	var out []B
	for _, a := range in {
		out = append(out, f(a))
	}
	return out
}

func texts[T fmt.Stringer](in []T) []string { return each(in, T.String) }

// text returns the address, "" for none.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
