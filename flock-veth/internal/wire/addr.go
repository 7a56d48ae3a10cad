// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
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
func (a Addr) Add() *Request {
	return a.request("add", unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
}

// Delete takes the address off the device. Absence is the error EADDRNOTAVAIL.
func (a Addr) Delete() *Request { return a.request("delete", unix.RTM_DELADDR, 0) }

func (a Addr) request(verb string, msgType, flags int) *Request {
	ip := a.Prefix.Addr()
	msg := nl.NewIfAddrmsg(family(ip))
	msg.Prefixlen, msg.Index = uint8(a.Prefix.Bits()), uint32(a.Dev.Index)
	if ip.IsLinkLocalUnicast() {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	if ip.Is6() {
		msg.Flags = unix.IFA_F_NODAD
	}
	return newRequest(verb, a, msgType, flags, msg, addrAttr(unix.IFA_LOCAL, ip), addrAttr(unix.IFA_ADDRESS, ip))
}

// ListAddrs asks for the addresses of a device, both families, for [Conn.Dump].
func ListAddrs(d Dev) *Request {
	msg := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	msg.Index = uint32(d.Index)
	return newRequest("list addresses of", d, unix.RTM_GETADDR, 0, msg)
}

// ParseAddr reads one address of a dump; d gives the device its name.
func ParseAddr(d Dev, b []byte) (Addr, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return Addr{}, short("an address", b)
	}
	// IPv4 names the device's own address LOCAL, IPv6 only ADDRESS.
	body := b[unix.SizeofIfAddrmsg:]
	ip := find(body, unix.IFA_LOCAL)
	if ip == nil {
		ip = find(body, unix.IFA_ADDRESS)
	}
	return Addr{Dev: d, Prefix: netip.PrefixFrom(addrOf(ip), int(b[1]))}, nil
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
func (n Neigh) Add() *Request {
	msg := &netlink.Ndmsg{Family: uint8(family(n.IP)), Index: uint32(n.Dev.Index), State: netlink.NUD_PERMANENT}
	return newRequest("add", n, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE,
		msg, addrAttr(netlink.NDA_DST, n.IP), nl.NewRtAttr(netlink.NDA_LLADDR, n.MAC[:]))
}

// ListNeighs asks for the neighbours of a device, both families, for [Conn.Dump].
func ListNeighs(d Dev) *Request {
	return newRequest("list neighbours of", d, unix.RTM_GETNEIGH, 0,
		&netlink.Ndmsg{}, uint32Attr(netlink.NDA_IFINDEX, d.Index))
}

// ParseNeigh reads one neighbour of a dump; d gives the device its name. One that is not permanent has
// the zero MAC address.
func ParseNeigh(d Dev, b []byte) (Neigh, error) {
	const size = 12 // struct ndmsg
	if len(b) < size {
		return Neigh{}, short("a neighbour", b)
	}
	n := Neigh{Dev: d, IP: addrOf(find(b[size:], netlink.NDA_DST))}
	if binary.NativeEndian.Uint16(b[8:])&netlink.NUD_PERMANENT != 0 {
		copy(n.MAC[:], find(b[size:], netlink.NDA_LLADDR))
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
func NoProxyDelay(d Dev) *Request {
	parms := nl.NewRtAttr(ndtaParms, nil)
	parms.AddChild(uint32Attr(ndtpaIfindex, d.Index))
	parms.AddRtAttr(ndtpaProxyDelay, nl.Uint64Attr(0))
	table := &nl.RtGenMsg{RtGenmsg: unix.RtGenmsg{Family: unix.AF_INET}}
	return newRequest("set proxy_delay of", d, unix.RTM_SETNEIGHTBL, 0, table,
		nl.NewRtAttr(ndtaName, nl.ZeroTerminated("arp_cache")), parms)
}
