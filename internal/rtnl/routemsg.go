// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// rtaNexthopID is RTA_NH_ID of linux/rtnetlink.h, which the unix package lacks.
const rtaNexthopID = 30

// message returns the parts of the message that adds or deletes the route.
func (r Route) message(del bool) []nl.NetlinkRequestData {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{
		Family:   uint8(Family(r.Dst.Addr())),
		Dst_len:  uint8(r.Dst.Bits()),
		Type:     r.Type,
		Protocol: uint8(r.Proto),
		Scope:    r.scope(del),
	}}
	parts := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.RTA_DST, r.Dst.Addr().AsSlice())}
	return append(parts, attributes(r)...)
}

// scope is of IPv4 alone: what needs no gateway is on the link.
func (r Route) scope(del bool) uint8 {
	switch {
	case del:
		return unix.RT_SCOPE_NOWHERE // any
	case r.Type == unix.RTN_UNICAST && r.Dst.Addr().Is4():
		return unix.RT_SCOPE_LINK
	}
	return unix.RT_SCOPE_UNIVERSE
}

// attributes returns the attributes that are not zero. The table is always one: the header has a byte for it.
func attributes(r Route) []nl.NetlinkRequestData {
	var parts []nl.NetlinkRequestData
	for _, a := range []nl.Uint32Attribute{
		{Type: unix.RTA_TABLE, Value: r.Table},
		{Type: unix.RTA_PRIORITY, Value: r.Metric},
		{Type: unix.RTA_OIF, Value: uint32(r.Link)},
		{Type: rtaNexthopID, Value: r.Group},
	} {
		if a.Value != 0 {
			parts = append(parts, &a)
		}
	}
	return parts
}

var errShort = errors.New("short message from the kernel")

// ParseRoute returns the route of an RTM_NEWROUTE or RTM_DELROUTE message, its header apart.
func ParseRoute(body []byte) (Route, error) {
	if len(body) < unix.SizeofRtMsg {
		return Route{}, errShort
	}
	msg := nl.DeserializeRtMsg(body)
	r := Route{Table: uint32(msg.Table), Type: msg.Type, Proto: netlink.RouteProtocol(msg.Protocol)}
	dst := unspecified(msg.Family)
	attrs, err := nl.ParseRouteAttr(body[unix.SizeofRtMsg:])
	if err != nil {
		return Route{}, err
	}
	for _, attr := range attrs {
		if attr.Attr.Type == unix.RTA_DST {
			dst, _ = netip.AddrFromSlice(attr.Value)
		} else if len(attr.Value) >= 4 {
			r.set(attr.Attr.Type, binary.NativeEndian.Uint32(attr.Value))
		}
	}
	r.Dst = netip.PrefixFrom(dst, int(msg.Dst_len))
	return r, nil
}

func (r *Route) set(attr uint16, value uint32) {
	switch attr {
	case unix.RTA_TABLE:
		r.Table = value
	case unix.RTA_PRIORITY:
		r.Metric = value
	case unix.RTA_OIF:
		r.Link = int(value)
	case rtaNexthopID:
		r.Group = value
	}
}

// unspecified is the destination of a default route, which comes without one.
func unspecified(family uint8) netip.Addr {
	if family == unix.AF_INET {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
