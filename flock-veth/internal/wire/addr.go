// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// Addr is an address on a device.
type Addr struct {
	Dev    Dev
	Prefix netip.Prefix
}

// String returns "address PREFIX dev NAME".
func (a Addr) String() string { return "address " + a.Prefix.String() + " dev " + a.Dev.Name }

// Add puts the address on the device without duplicate-address detection. One that is there already
// stays, and is no error.
func (a Addr) Add() *rtnl.Request {
	return a.request("add", unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
}

// Delete takes the address off the device. Absence is the error EADDRNOTAVAIL.
func (a Addr) Delete() *rtnl.Request { return a.request("delete", unix.RTM_DELADDR, 0) }

func (a Addr) request(verb string, msgType, flags int) *rtnl.Request {
	ip := a.Prefix.Addr()
	msg := nl.NewIfAddrmsg(rtnl.Family(ip))
	msg.Prefixlen, msg.Index = uint8(a.Prefix.Bits()), uint32(a.Dev.Index)
	if ip.IsLinkLocalUnicast() {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	if ip.Is6() {
		msg.Flags = unix.IFA_F_NODAD
	}
	return rtnl.NewRequest(verb, a, msgType, flags, msg, rtnl.AddrAttr(unix.IFA_LOCAL, ip), rtnl.AddrAttr(unix.IFA_ADDRESS, ip))
}

// ListAddrs asks for the addresses of a device, both families, for [rtnl.Conn.Dump].
func ListAddrs(d Dev) *rtnl.Request {
	msg := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	msg.Index = uint32(d.Index)
	return rtnl.NewRequest("list addresses of", d, unix.RTM_GETADDR, 0, msg)
}

// ParseAddr reads one address of a dump; d gives the device its name.
func ParseAddr(d Dev, b []byte) (Addr, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return Addr{}, rtnl.Short("an address", b)
	}
	// IPv4 names the device's own address LOCAL, IPv6 only ADDRESS.
	body := b[unix.SizeofIfAddrmsg:]
	ip := rtnl.Find(body, unix.IFA_LOCAL)
	if ip == nil {
		ip = rtnl.Find(body, unix.IFA_ADDRESS)
	}
	return Addr{Dev: d, Prefix: netip.PrefixFrom(rtnl.Addr(ip), int(b[1]))}, nil
}

// Neigh is a permanent neighbour: the device needs to ask nobody for its address.
type Neigh struct {
	Dev Dev
	IP  netip.Addr
	MAC MAC
}

// String returns "neighbour IP lladdr MAC dev NAME".
func (n Neigh) String() string {
	return "neighbour " + n.IP.String() + " lladdr " + n.MAC.String() + " dev " + n.Dev.Name
}

// Add makes the neighbour, or sets the MAC address of one that is there.
func (n Neigh) Add() *rtnl.Request {
	msg := &netlink.Ndmsg{Family: uint8(rtnl.Family(n.IP)), Index: uint32(n.Dev.Index), State: netlink.NUD_PERMANENT}
	return rtnl.NewRequest("add", n, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE,
		msg, rtnl.AddrAttr(netlink.NDA_DST, n.IP), nl.NewRtAttr(netlink.NDA_LLADDR, n.MAC[:]))
}

// ListNeighs asks for the neighbours of a device, both families, for [rtnl.Conn.Dump].
func ListNeighs(d Dev) *rtnl.Request {
	return rtnl.NewRequest("list neighbours of", d, unix.RTM_GETNEIGH, 0,
		&netlink.Ndmsg{}, rtnl.Uint32Attr(netlink.NDA_IFINDEX, d.Index))
}

// ParseNeigh reads one neighbour of a dump; d gives the device its name. One that is not permanent has
// the zero MAC address.
func ParseNeigh(d Dev, b []byte) (Neigh, error) {
	const size = 12 // struct ndmsg
	if len(b) < size {
		return Neigh{}, rtnl.Short("a neighbour", b)
	}
	n := Neigh{Dev: d, IP: rtnl.Addr(rtnl.Find(b[size:], netlink.NDA_DST))}
	if binary.NativeEndian.Uint16(b[8:])&netlink.NUD_PERMANENT != 0 {
		copy(n.MAC[:], rtnl.Find(b[size:], netlink.NDA_LLADDR))
	}
	return n, nil
}

// The kernel's numbers for one device's share of a neighbour table (linux/neighbour.h).
const (
	ndtaName        = 1
	ndtaParms       = 6
	ndtpaIfindex    = 1
	ndtpaProxyDelay = 13
)

// NoProxyDelay makes the device answer an ARP request that it proxies at once, instead of after up to
// 0.8 seconds.
func NoProxyDelay(d Dev) *rtnl.Request {
	parms := nl.NewRtAttr(ndtaParms, nil)
	parms.AddChild(rtnl.Uint32Attr(ndtpaIfindex, d.Index))
	parms.AddRtAttr(ndtpaProxyDelay, nl.Uint64Attr(0))
	table := &nl.RtGenMsg{RtGenmsg: unix.RtGenmsg{Family: unix.AF_INET}}
	return rtnl.NewRequest("set proxy_delay of", d, unix.RTM_SETNEIGHTBL, 0, table,
		nl.NewRtAttr(ndtaName, nl.ZeroTerminated("arp_cache")), parms)
}
