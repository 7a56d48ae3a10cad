// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// rtaNexthopID is RTA_NH_ID of linux/rtnetlink.h, which the unix package lacks.
const rtaNexthopID = 30

// request returns the message that adds or deletes the route.
func (r Route) request(verb string, msgType, flags int) *Request {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{
		Family:   uint8(Family(r.Dst.Addr())),
		Dst_len:  uint8(r.Dst.Bits()),
		Type:     r.Type,
		Protocol: uint8(r.Proto),
		Scope:    r.scope(msgType),
	}}
	parts := append([]nl.NetlinkRequestData{msg, AddrAttr(unix.RTA_DST, r.Dst.Addr())}, attributes(r)...)
	return NewRequest(verb, r, msgType, flags, parts...)
}

// scope is of IPv4 alone: what needs no gateway is on the link.
func (r Route) scope(msgType int) uint8 {
	switch {
	case msgType == unix.RTM_DELROUTE:
		return unix.RT_SCOPE_NOWHERE // any
	case r.Type == unix.RTN_UNICAST && r.Dst.Addr().Is4():
		return unix.RT_SCOPE_LINK
	}
	return unix.RT_SCOPE_UNIVERSE
}

// attributes returns the attributes that are not zero. The table is always one: the header has a byte for it.
func attributes(r Route) (parts []nl.NetlinkRequestData) {
	for _, a := range []struct {
		kind  int
		value uint32
	}{{unix.RTA_TABLE, r.Table}, {unix.RTA_PRIORITY, r.Metric}, {unix.RTA_OIF, uint32(r.Link)}, {rtaNexthopID, r.Group}} {
		if a.value != 0 {
			parts = append(parts, Uint32Attr(a.kind, a.value))
		}
	}
	return parts
}

// ParseRoute returns the route of an RTM_NEWROUTE or RTM_DELROUTE message, its header apart.
func ParseRoute(body []byte) (Route, error) {
	if len(body) < unix.SizeofRtMsg {
		return Route{}, Short("a route", body)
	}
	msg := nl.DeserializeRtMsg(body)
	r := Route{Table: uint32(msg.Table), Type: msg.Type, Proto: netlink.RouteProtocol(msg.Protocol)}
	dst := Unspecified(msg.Family)
	for kind, value := range Attrs(body[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			dst = Addr(value)
		case unix.RTA_TABLE:
			r.Table = uint32(Uint32(value))
		case unix.RTA_PRIORITY:
			r.Metric = uint32(Uint32(value))
		case unix.RTA_OIF:
			r.Link = Uint32(value)
		case rtaNexthopID:
			r.Group = uint32(Uint32(value))
		}
	}
	r.Dst = netip.PrefixFrom(dst, int(msg.Dst_len))
	return r, nil
}

// Unspecified is the destination of a family's default route, which comes without one.
func Unspecified(family uint8) netip.Addr {
	if family == unix.AF_INET {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
