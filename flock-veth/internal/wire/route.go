// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// Route is a route through a device; without Via it is on-link.
type Route struct {
	Dev    Dev
	Dst    netip.Prefix
	Via    netip.Addr
	Metric int // the kernel makes an IPv6 route's 0 a 1024
	Table  int // 0 is the main table
	MTU    int
	AdvMSS int
}

// String returns the route in the words of "ip route".
func (r Route) String() string {
	var s strings.Builder
	s.WriteString("route ")
	if r.Dst.Bits() == 0 {
		s.WriteString("default")
	} else {
		s.WriteString(r.Dst.String())
	}
	if r.Via.IsValid() {
		s.WriteString(" via " + r.Via.String())
	}
	s.WriteString(" dev " + r.Dev.Name)
	for _, option := range []struct {
		name  string
		value int
	}{{"metric", r.Metric}, {"table", r.Table}, {"mtu", r.MTU}, {"advmss", r.AdvMSS}} {
		if option.value != 0 {
			fmt.Fprintf(&s, " %s %d", option.name, option.value)
		}
	}
	return s.String()
}

// Add makes the route. A gateway needs no route of its own. Another route to the same destination with
// the same metric is the error EEXIST, except that an on-link route is put behind it.
func (r Route) Add() *rtnl.Request {
	flags := unix.NLM_F_CREATE | unix.NLM_F_EXCL
	msg := nl.NewRtMsg()
	msg.Family, msg.Dst_len, msg.Protocol = uint8(rtnl.Family(r.Dst.Addr())), uint8(r.Dst.Bits()), unix.RTPROT_STATIC
	parts := []nl.NetlinkRequestData{msg}
	if r.Dst.Bits() > 0 {
		parts = append(parts, rtnl.AddrAttr(unix.RTA_DST, r.Dst.Addr()))
	}
	if r.Via.IsValid() {
		msg.Flags = unix.RTNH_F_ONLINK
		parts = append(parts, rtnl.AddrAttr(unix.RTA_GATEWAY, r.Via))
	} else {
		msg.Scope, flags = unix.RT_SCOPE_LINK, unix.NLM_F_CREATE|unix.NLM_F_APPEND
	}
	parts = append(parts, rtnl.Uint32Attr(unix.RTA_OIF, r.Dev.Index))
	return rtnl.NewRequest("add", r, unix.RTM_NEWROUTE, flags, append(parts, r.options()...)...)
}

func (r Route) options() (parts []nl.NetlinkRequestData) {
	if r.Table != 0 {
		parts = append(parts, rtnl.Uint32Attr(unix.RTA_TABLE, r.Table))
	}
	if r.Metric != 0 {
		parts = append(parts, rtnl.Uint32Attr(unix.RTA_PRIORITY, r.Metric))
	}
	metrics := nl.NewRtAttr(unix.RTA_METRICS, nil)
	if r.MTU != 0 {
		metrics.AddChild(rtnl.Uint32Attr(unix.RTAX_MTU, r.MTU))
	}
	if r.AdvMSS != 0 {
		metrics.AddChild(rtnl.Uint32Attr(unix.RTAX_ADVMSS, r.AdvMSS))
	}
	if r.MTU != 0 || r.AdvMSS != 0 {
		parts = append(parts, metrics)
	}
	return parts
}

// Listed returns the route as a dump lists it: an IPv6 route always has a metric.
func (r Route) Listed() Route {
	if r.Dst.Addr().Is6() && r.Metric == 0 {
		r.Metric = 1024
	}
	return r
}

// ListRoutes asks for the routes through a device, both families, for [rtnl.Conn.Dump].
func ListRoutes(d Dev) *rtnl.Request {
	return rtnl.NewRequest("list routes through", d, unix.RTM_GETROUTE, 0, &nl.RtMsg{}, rtnl.Uint32Attr(unix.RTA_OIF, d.Index))
}

// ParseRoute reads one route of a dump; d gives the device its name.
func ParseRoute(d Dev, b []byte) (Route, error) {
	if len(b) < unix.SizeofRtMsg {
		return Route{}, rtnl.Short("a route", b)
	}
	r := Route{Dev: d, Table: int(b[4])}
	dst := rtnl.Unspecified(b[0])
	for kind, value := range rtnl.Attrs(b[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			dst = rtnl.Addr(value)
		case unix.RTA_GATEWAY:
			r.Via = rtnl.Addr(value)
		case unix.RTA_PRIORITY:
			r.Metric = rtnl.Uint32(value)
		case unix.RTA_TABLE:
			r.Table = rtnl.Uint32(value)
		case unix.RTA_METRICS:
			r.MTU, r.AdvMSS = rtnl.Uint32(rtnl.Find(value, unix.RTAX_MTU)), rtnl.Uint32(rtnl.Find(value, unix.RTAX_ADVMSS))
		}
	}
	if r.Table == unix.RT_TABLE_MAIN {
		r.Table = 0
	}
	r.Dst = netip.PrefixFrom(dst, int(b[1]))
	return r, nil
}

// ListLearned asks for the IPv6 routes that router advertisements brought, for [rtnl.Conn.Dump] and
// [OutIndex].
func ListLearned() *rtnl.Request {
	msg := &nl.RtMsg{}
	msg.Family, msg.Protocol = unix.AF_INET6, unix.RTPROT_RA
	return rtnl.NewRequest("list", "routes learned from router advertisements", unix.RTM_GETROUTE, 0, msg)
}

// OutIndex returns the index of the device that a route goes through, 0 where it has none or several.
func OutIndex(route []byte) int {
	if len(route) < unix.SizeofRtMsg {
		return 0
	}
	return rtnl.Uint32(rtnl.Find(route[unix.SizeofRtMsg:], unix.RTA_OIF))
}

// OutIndices returns the indices of all devices that a route goes through.
func OutIndices(route []byte) []int {
	if index := OutIndex(route); index != 0 {
		return []int{index}
	}
	if len(route) < unix.SizeofRtMsg {
		return nil
	}
	var indices []int
	for hops := rtnl.Find(route[unix.SizeofRtMsg:], unix.RTA_MULTIPATH); len(hops) >= unix.SizeofRtNexthop; {
		size := int(binary.NativeEndian.Uint16(hops))
		if size < unix.SizeofRtNexthop || size > len(hops) {
			break
		}
		indices = append(indices, int(binary.NativeEndian.Uint32(hops[4:])))
		hops = hops[min(rtnl.Align(size), len(hops)):]
	}
	return indices
}

// The kernel's numbers for a family's configuration (linux/netconf.h).
const (
	netconfaIfindex    = 1
	netconfaForwarding = 2
	netconfaAll        = -1
)

// Forwards asks whether the namespace forwards a family's packets, AF_INET's or AF_INET6's, which is
// net.ipv4.ip_forward or net.ipv6.conf.all.forwarding; [Forwarding] reads the answer. A kernel without the
// family refuses.
func Forwards(family uint8) *rtnl.Request {
	name := map[uint8]string{unix.AF_INET: "IPv4", unix.AF_INET6: "IPv6"}[family]
	return rtnl.NewRequest("get forwarding of", name, unix.RTM_GETNETCONF, 0,
		&nl.RtGenMsg{RtGenmsg: unix.RtGenmsg{Family: family}}, rtnl.Uint32Attr(netconfaIfindex, netconfaAll))
}

// Forwarding tells what the answer to [Forwards] says.
func Forwarding(answer []byte) bool {
	const size = 4 // struct netconfmsg, padded
	return len(answer) > size && rtnl.Uint32(rtnl.Find(answer[size:], netconfaForwarding)) != 0
}

// DynamicAddr returns the device of an address of a dump that has a lifetime, as one has that router
// advertisements or DHCP brought; 0 for any other.
func DynamicAddr(addr []byte) int {
	if len(addr) < unix.SizeofIfAddrmsg || addr[2]&unix.IFA_F_PERMANENT != 0 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(addr[4:]))
}
