// SPDX-License-Identifier: Apache-2.0

// Package wire knows the netlink objects of flock-veth. Links, addresses, routes and neighbours are
// comparable values that print as "ip" does, build their own messages and are what a dump returns, so
// that making, checking and reporting share one description.
package wire

import (
	"encoding/binary"
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// Dev is a network device: the index that the kernel wants and the name that people read.
type Dev struct {
	Index int
	Name  string
}

// Loopback is the "lo" of every network namespace; the kernel gives it the first index.
var Loopback = Dev{Index: 1, Name: "lo"}

// String returns "link NAME".
func (d Dev) String() string { return "link " + d.Name }

// MAC is an Ethernet address.
type MAC [6]byte

// String returns the address in the usual colon notation.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Link is a network device with what flock sets or looks at.
type Link struct {
	Dev
	Kind  string
	Alias string
	MAC   MAC
	MTU   int
	Group int
	Up    bool
	// Peer is the index of a veth's other end in its own network namespace, and PeerNetns the number
	// that this namespace has for that one, -1 where it has none.
	Peer      int
	PeerNetns int
	IPv4      Inet4
	IPv6      Inet6
}

// Inet4 is a device's IPv4 configuration, net.ipv4.conf.DEV.
type Inet4 struct {
	Forwarding int
	ProxyARP   int
}

// Inet6 is a device's IPv6 configuration, net.ipv6.conf.DEV. A kernel without IPv6 leaves Exists false.
type Inet6 struct {
	Exists     bool
	Forwarding int
	AcceptRA   int
	Autoconf   int
	Disabled   int
}

// The kernel's numbers that package unix does not name (linux/if_link.h, linux/ip.h, linux/ipv6.h).
const (
	extFilterSkipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	addrGenModeNone    = 1      // IN6_ADDR_GEN_MODE_NONE
	devconf4Forwarding = 1
	devconf4ProxyARP   = 3
	devconf6Forwarding = 0
	devconf6AcceptRA   = 3
	devconf6Autoconf   = 5
	devconf6Disabled   = 26
)

// CreateVeth makes a pair: host in the socket's network namespace, peer in the one that netns is a file
// descriptor of. Name, MAC, MTU and, on the host's side, Group are taken; the rest the kernel takes only
// afterwards.
func CreateVeth(host, peer Link, netns int) *rtnl.Request {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	data := info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(data, unix.AF_UNSPEC)
	for _, a := range peer.identity() {
		data.AddChild(a)
	}
	data.AddChild(rtnl.Uint32Attr(unix.IFLA_NET_NS_FD, netns))
	parts := append([]nl.NetlinkRequestData{msg}, host.identity()...)
	parts = append(parts, rtnl.Uint32Attr(unix.IFLA_GROUP, host.Group), info)
	pair := Dev{Name: host.Name + " with its other end " + peer.Name}
	return rtnl.NewRequest("create", pair, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, parts...)
}

// identity is what both ends are made with. One queue for each direction is all that a veth uses without
// XDP; by default the kernel makes one for every possible CPU, which on 64 costs more than all the rest.
func (l Link) identity() []nl.NetlinkRequestData {
	return []nl.NetlinkRequestData{
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Name)),
		nl.NewRtAttr(unix.IFLA_ADDRESS, l.MAC[:]),
		rtnl.Uint32Attr(unix.IFLA_MTU, l.MTU),
		rtnl.Uint32Attr(unix.IFLA_NUM_TX_QUEUES, 1),
		rtnl.Uint32Attr(unix.IFLA_NUM_RX_QUEUES, 1),
	}
}

// Settings is what Set gives a link: an alias and a group if they are not zero, and the parts of the
// device's configuration that the kernel takes by netlink.
type Settings struct {
	Alias string
	Group int
	// Router switches IPv4 forwarding and proxy_arp on.
	Router bool
	// NoLinkLocal keeps the kernel from making an IPv6 link-local address; false leaves it as it is. The
	// kernel sets a link up before it heeds this, so a link that gets a carrier by it needs two messages.
	NoLinkLocal bool
	// Up sets the link up; false leaves it as it is.
	Up bool
}

// Set applies the settings in one message.
func Set(d Dev, s Settings) *rtnl.Request {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(d.Index)
	if s.Up {
		msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	}
	parts := []nl.NetlinkRequestData{msg}
	if s.Alias != "" {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(s.Alias)))
	}
	if s.Group != 0 {
		parts = append(parts, rtnl.Uint32Attr(unix.IFLA_GROUP, s.Group))
	}
	if s.Router || s.NoLinkLocal {
		parts = append(parts, s.families())
	}
	return rtnl.NewRequest("configure", d, unix.RTM_SETLINK, 0, parts...)
}

func (s Settings) families() *nl.RtAttr {
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	if s.Router {
		conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(unix.IFLA_INET_CONF, nil)
		conf.AddChild(rtnl.Uint32Attr(devconf4Forwarding, 1))
		conf.AddChild(rtnl.Uint32Attr(devconf4ProxyARP, 1))
	}
	if s.NoLinkLocal {
		spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{addrGenModeNone})
	}
	return spec
}

// DeleteLink removes a link, and a veth's other end with it. When the kernel has answered they are gone.
func DeleteLink(d Dev) *rtnl.Request {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(d.Index)
	return rtnl.NewRequest("delete", d, unix.RTM_DELLINK, 0, msg)
}

// GetLink asks for the link of a name; [ParseLink] reads the answer. Absence is the error ENODEV.
func GetLink(name string) *rtnl.Request {
	return rtnl.NewRequest("get", Dev{Name: name}, unix.RTM_GETLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC),
		rtnl.Uint32Attr(unix.IFLA_EXT_MASK, extFilterSkipStats), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

// ListVeths asks for the namespace's veths, for [rtnl.Conn.Dump].
func ListVeths() *rtnl.Request {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	return rtnl.NewRequest("list", "veths", unix.RTM_GETLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC),
		rtnl.Uint32Attr(unix.IFLA_EXT_MASK, extFilterSkipStats), info)
}

// ParseLink reads one link of an answer or a dump.
func ParseLink(b []byte) (Link, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Link{}, rtnl.Short("a link", b)
	}
	l := Link{Dev: Dev{Index: int(binary.NativeEndian.Uint32(b[4:]))}, PeerNetns: -1}
	l.Up = binary.NativeEndian.Uint32(b[8:])&unix.IFF_UP != 0
	for kind, value := range rtnl.Attrs(b[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = unix.ByteSliceToString(value)
		case unix.IFLA_IFALIAS:
			l.Alias = unix.ByteSliceToString(value)
		case unix.IFLA_ADDRESS:
			copy(l.MAC[:], value)
		case unix.IFLA_MTU:
			l.MTU = rtnl.Uint32(value)
		case unix.IFLA_GROUP:
			l.Group = rtnl.Uint32(value)
		case unix.IFLA_LINK:
			l.Peer = rtnl.Uint32(value)
		case unix.IFLA_LINK_NETNSID:
			l.PeerNetns = rtnl.Uint32(value)
		case unix.IFLA_LINKINFO:
			l.Kind = unix.ByteSliceToString(rtnl.Find(value, unix.IFLA_INFO_KIND))
		case unix.IFLA_AF_SPEC:
			l.parseFamilies(value)
		}
	}
	return l, nil
}

func (l *Link) parseFamilies(spec []byte) {
	if conf := rtnl.Find(rtnl.Find(spec, unix.AF_INET), unix.IFLA_INET_CONF); conf != nil {
		// IPv4's numbers start at 1, the array at 0.
		l.IPv4.Forwarding, l.IPv4.ProxyARP = entry(conf, devconf4Forwarding-1), entry(conf, devconf4ProxyARP-1)
	}
	if conf := rtnl.Find(rtnl.Find(spec, unix.AF_INET6), unix.IFLA_INET6_CONF); conf != nil {
		l.IPv6 = Inet6{
			Exists:     true,
			Forwarding: entry(conf, devconf6Forwarding),
			AcceptRA:   entry(conf, devconf6AcceptRA),
			Autoconf:   entry(conf, devconf6Autoconf),
			Disabled:   entry(conf, devconf6Disabled),
		}
	}
}

// entry returns the n-th number of a device's configuration, 0 where the kernel has fewer.
func entry(conf []byte, n int) int {
	if len(conf) < 4*(n+1) {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(conf[4*n:])))
}

// HeedsRAs tells whether the device would take a router advertisement.
func (c Inet6) HeedsRAs() bool {
	return c.Disabled == 0 && (c.AcceptRA == 2 || c.AcceptRA == 1 && c.Forwarding == 0)
}
