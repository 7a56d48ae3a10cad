// SPDX-License-Identifier: Apache-2.0

// Package pair makes, compares and removes the veth pair of one attachment, with everything that hangs on
// its two ends. What there should be is a [Spec]; the kernel is asked what there is; nothing else is kept.
package pair

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"

	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// The host side of every pair has one address of each family and one MAC address, so that nothing on the
// pod's side depends on the node.
var (
	Gateway6 = netip.MustParseAddr("fe80::1")
	Gateway4 = netip.MustParseAddr("169.254.1.1")
	HostMAC  = wire.MAC{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}
)

// Spec is what one attachment looks like in the kernel.
type Spec struct {
	HostName string
	Alias    string // names the attachment
	IfName   string
	PodMAC   wire.MAC
	Draft    int // the link group of the host side until its alias names the attachment
	MTU      int
	Unicast  []netip.Addr // on IfName
	Anycast  []netip.Addr // on the pod's lo
	// Routes are the pod's, through the gateway of their family; Dev and Via are left out.
	Routes []wire.Route
}

// Identify returns the part of the spec that follows from the attachment alone. A name that the kernel
// cannot keep is an error.
func Identify(a cni.Attachment) (Spec, error) {
	alias, err := rtnl.Alias(a)
	if err != nil {
		return Spec{}, err
	}
	if strings.Contains(a.IfName, "%") {
		return Spec{}, fmt.Errorf("name the link of attachment %s: the kernel would replace the %% by a number", a)
	}
	return Spec{
		HostName: rtnl.HostName(a.ContainerID, a.IfName),
		Alias:    alias,
		IfName:   a.IfName,
		PodMAC:   podMAC(alias),
		Draft:    draftGroup(a.Network),
	}, nil
}

// draftGroup is the link group that a pair of the network is created in. The kernel takes an alias only
// in a second message, with which the pair moves to flock's group; one that is found in this group was
// left by a process that died between the two.
func draftGroup(network string) int {
	hash := fnv.New32a()
	hash.Write([]byte(network))
	return int(hash.Sum32()>>2 | 1<<30) // away from the numbers that people choose
}

// podMAC is the same for an attachment whenever it is made: a locally administered unicast address out
// of the FNV-1a-64 hash of its name.
func podMAC(alias string) wire.MAC {
	hash := fnv.New64a()
	hash.Write([]byte(alias))
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], hash.Sum64())
	mac := wire.MAC(sum[2:])
	mac[0] = mac[0]&^1 | 2
	return mac
}

// primary is the interface whose routes win over those of a pod's other attachments.
const primary = "eth0"

// secondaryMetric is what the routes of another interface start from: above the 1024 that the kernel
// gives the primary one's. The interface's index is added, so that two of them never clash.
const secondaryMetric = 2048

func (s Spec) has4() bool { return hasFamily(s.Unicast, netip.Addr.Is4) }

func (s Spec) has6() bool { return hasFamily(s.Unicast, netip.Addr.Is6) }

func hasFamily(addrs []netip.Addr, is func(netip.Addr) bool) bool {
	for _, a := range addrs {
		if is(a) {
			return true
		}
	}
	return false
}

// hostEnd and podEnd are the two links as the create message takes them.
func (s Spec) hostEnd() wire.Link {
	return wire.Link{Dev: wire.Dev{Name: s.HostName}, MAC: HostMAC, MTU: s.MTU, Group: s.Draft}
}

func (s Spec) podEnd() wire.Link {
	return wire.Link{Dev: wire.Dev{Name: s.IfName}, MAC: s.PodMAC, MTU: s.MTU}
}

// hostAddrs are the addresses on the host's end. IPv4 needs none: proxy_arp answers for its gateway. The
// IPv6 one is a /128, because a router joins the anycast address of any shorter prefix (RFC 4291, section
// 2.6.1), and that holds the link for another 15 ms when it is deleted.
func (s Spec) hostAddrs(host wire.Dev) []wire.Addr {
	if !s.has6() {
		return nil
	}
	return hostPrefixes(host, []netip.Addr{Gateway6})
}

// linkLocals is where the pod's own link-local address is, and kernelMetric what the kernel gives such a
// route itself.
var linkLocals = netip.MustParsePrefix("fe80::/64")

const kernelMetric = 256

// hostRoutes lead the host to the pod's link-local address.
func (s Spec) hostRoutes(host wire.Dev) []wire.Route {
	if !s.has6() {
		return nil
	}
	return []wire.Route{{Dev: host, Dst: linkLocals, Metric: kernelMetric}}
}

// hostNeighs tell the host the pod's MAC address for each of its addresses. The anycast ones need it
// most: the pod would not answer for them, as they are not on the interface that is asked.
func (s Spec) hostNeighs(host wire.Dev) []wire.Neigh {
	var neighs []wire.Neigh
	for _, list := range [][]netip.Addr{s.Unicast, s.Anycast} {
		for _, a := range list {
			neighs = append(neighs, wire.Neigh{Dev: host, IP: a, MAC: s.PodMAC})
		}
	}
	return neighs
}

// podAddrs are the unicast addresses, behind a link-local one where the pod has IPv6.
func (s Spec) podAddrs(pod wire.Dev) []wire.Addr {
	var addrs []wire.Addr
	if s.has6() {
		addrs = append(addrs, wire.Addr{Dev: pod, Prefix: netip.PrefixFrom(linkLocal(s.PodMAC), 64)})
	}
	return append(addrs, hostPrefixes(pod, s.Unicast)...)
}

func (s Spec) loAddrs() []wire.Addr { return hostPrefixes(wire.Loopback, s.Anycast) }

func hostPrefixes(d wire.Dev, ips []netip.Addr) (addrs []wire.Addr) {
	for _, ip := range ips {
		addrs = append(addrs, wire.Addr{Dev: d, Prefix: netip.PrefixFrom(ip, ip.BitLen())})
	}
	return addrs
}

// podRoutes are the pod's routes in the order in which the kernel takes them.
func (s Spec) podRoutes(pod wire.Dev) []wire.Route {
	var routes []wire.Route
	if s.has4() {
		routes = append(routes, wire.Route{Dev: pod, Dst: netip.PrefixFrom(Gateway4, 32)})
	}
	for _, r := range s.Routes {
		r.Dev, r.Via = pod, Gateway(r.Dst.Addr())
		if r.Metric == 0 && s.IfName != primary {
			r.Metric = secondaryMetric + pod.Index
		}
		routes = append(routes, r)
	}
	return routes
}

func (s Spec) podNeighs(pod wire.Dev) []wire.Neigh {
	var neighs []wire.Neigh
	if s.has6() {
		neighs = append(neighs, wire.Neigh{Dev: pod, IP: Gateway6, MAC: HostMAC})
	}
	if s.has4() {
		neighs = append(neighs, wire.Neigh{Dev: pod, IP: Gateway4, MAC: HostMAC})
	}
	return neighs
}

// Gateway returns the pod's gateway for an address's family.
func Gateway(a netip.Addr) netip.Addr {
	if a.Is4() {
		return Gateway4
	}
	return Gateway6
}

// linkLocal returns the address that RFC 4291 derives from a MAC address. The kernel would make the same
// one, but only after it has looked for duplicates.
func linkLocal(m wire.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}
