// SPDX-License-Identifier: Apache-2.0

// Package nexthop routes one address to several devices through the kernel's nexthop objects: one
// object for each device, one group of them for the address, one route through the group. When a
// device dies the kernel takes its object out of the group by itself, and the group and its route go
// with the last one. Plain multipath routes cannot do that: IPv6 refuses them without gateways, and
// IPv4 loses the whole route with the first device.
package nexthop

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// The attributes of linux/nexthop.h that are used here.
const (
	nhaID        = 1
	nhaGroup     = 2
	nhaGroupType = 3
	nhaOIF       = 5
	nhaResGroup  = 12

	nhaResGroupBuckets         = 1
	nhaResGroupIdleTimer       = 2
	nhaResGroupUnbalancedTimer = 3

	groupTypeResilient = 1
)

// What a resilient group is made of. A bucket of flows moves to a device that joins when it was idle so
// long, or when devices have had less than their share so long; times in hundredths of a second.
const (
	buckets         = 128
	idleTimer       = 5 * 100
	unbalancedTimer = 30 * 100
)

const (
	sizeofNhmsg  = 8 // struct nhmsg: family, scope, protocol and reserved byte, flags
	sizeofMember = 8 // struct nexthop_grp: ID, weight and reserved bytes
)

// Object is one nexthop object: of a device, or a group of such.
type Object struct {
	ID     uint32
	Family uint8 // unix.AF_INET or AF_INET6; 0 of a group
	Proto  netlink.RouteProtocol
	// Link is the index of the device, 0 of a group.
	Link int
	// Members are the IDs of a group's objects; nil of a device's.
	Members []uint32
	// Resilient groups leave a flow with its member when others come and go (Linux 5.13 and later). A
	// group is born as one or never is.
	Resilient bool
}

// String returns the object as ip(8) shows it, with numbers where ip knows names.
func (o Object) String() string {
	if o.Members == nil {
		return fmt.Sprintf("id %d dev #%d proto %d", o.ID, o.Link, o.Proto)
	}
	text := fmt.Sprintf("id %d group %d proto %d", o.ID, o.Members, o.Proto)
	if o.Resilient {
		text += " type resilient"
	}
	return text
}

// header is the kernel's struct nhmsg.
type header struct {
	family uint8
	proto  netlink.RouteProtocol
}

func (h header) Len() int { return sizeofNhmsg }

func (h header) Serialize() []byte {
	return []byte{h.family, 0, uint8(h.proto), 0, 0, 0, 0, 0}
}

// List returns every nexthop object of the network namespace, strangers' too.
func List(c *rtnl.Conn) ([]Object, error) {
	return rtnl.List(c, rtnl.NewRequest("list", "nexthops", unix.RTM_GETNEXTHOP, 0, header{}), parse)
}

// Groups returns the indices of the links that each nexthop group leads to, by the group's ID.
func Groups(c *rtnl.Conn) (map[uint32][]int, error) {
	objects, err := List(c)
	if err != nil {
		return nil, err
	}
	link := map[uint32]int{}
	for _, o := range objects {
		link[o.ID] = o.Link
	}
	groups := map[uint32][]int{}
	for _, o := range objects {
		for _, id := range o.Members {
			groups[o.ID] = append(groups[o.ID], link[id])
		}
	}
	return groups, nil
}

// Get returns the objects with the IDs, the zero Object for an ID that none has.
func Get(c *rtnl.Conn, ids ...uint32) ([]Object, error) {
	answers, err := c.Ask(requests("look up nexthop", unix.RTM_GETNEXTHOP, ids)...)
	objects := make([]Object, len(answers))
	for i, a := range answers {
		if a.Is(unix.ENOENT) {
			continue
		}
		if err = a.Err; err == nil {
			objects[i], err = parse(a.Data)
		}
		if err != nil {
			return nil, err
		}
	}
	return objects, err
}

// Add adds an object. Its ID being in use is an error that matches [unix.EEXIST].
func Add(c *rtnl.Conn, o Object) error {
	return c.Do(o.request("add nexthop", unix.NLM_F_CREATE|unix.NLM_F_EXCL))
}

// Replace changes an object in place; the routes through it follow. There being none with its ID is an
// error that matches [unix.ENOENT], a member that is gone one that matches [unix.EINVAL].
func Replace(c *rtnl.Conn, o Object) error {
	return c.Do(o.request("replace nexthop", unix.NLM_F_REPLACE))
}

// Delete deletes the objects with the IDs. The kernel takes them out of every group, and with its last
// member a group goes, and with that its routes. Deleting what is absent is not an error.
func Delete(c *rtnl.Conn, ids ...uint32) error {
	answers, err := c.Ask(requests("delete nexthop", unix.RTM_DELNEXTHOP, ids)...)
	for _, a := range answers {
		if !a.Is(unix.ENOENT) {
			err = errors.Join(err, a.Err)
		}
	}
	return err
}

func requests(verb string, msgType int, ids []uint32) []*rtnl.Request {
	reqs := make([]*rtnl.Request, len(ids))
	for i, id := range ids {
		reqs[i] = rtnl.NewRequest(verb, id, msgType, 0, header{}, rtnl.Uint32Attr(nhaID, id))
	}
	return reqs
}

func (o Object) request(verb string, flags int) *rtnl.Request {
	parts := append([]nl.NetlinkRequestData{header{o.Family, o.Proto}, rtnl.Uint32Attr(nhaID, o.ID)}, o.leads()...)
	return rtnl.NewRequest(verb, o, unix.RTM_NEWNEXTHOP, flags, parts...)
}

// leads returns the attributes that say where the object leads.
func (o Object) leads() []nl.NetlinkRequestData {
	if o.Members == nil {
		return []nl.NetlinkRequestData{rtnl.Uint32Attr(nhaOIF, o.Link)}
	}
	members := make([]byte, sizeofMember*len(o.Members))
	for i, id := range o.Members {
		binary.NativeEndian.PutUint32(members[sizeofMember*i:], id) // weight and the rest 0: equal shares
	}
	group := nl.NewRtAttr(nhaGroup, members)
	if !o.Resilient {
		return []nl.NetlinkRequestData{group}
	}
	details := nl.NewRtAttr(nhaResGroup|unix.NLA_F_NESTED, nil)
	details.AddRtAttr(nhaResGroupBuckets, nl.Uint16Attr(buckets))
	details.AddRtAttr(nhaResGroupIdleTimer, nl.Uint32Attr(idleTimer))
	details.AddRtAttr(nhaResGroupUnbalancedTimer, nl.Uint32Attr(unbalancedTimer))
	return []nl.NetlinkRequestData{group, nl.NewRtAttr(nhaGroupType, nl.Uint16Attr(groupTypeResilient)), details}
}

func parse(body []byte) (Object, error) {
	if len(body) < sizeofNhmsg {
		return Object{}, rtnl.Short("a nexthop", body)
	}
	o := Object{Family: body[0], Proto: netlink.RouteProtocol(body[2])}
	for kind, value := range rtnl.Attrs(body[sizeofNhmsg:]) {
		switch kind {
		case nhaGroup:
			o.Members = parseMembers(value)
		case nhaGroupType:
			o.Resilient = len(value) >= 2 && binary.NativeEndian.Uint16(value) == groupTypeResilient
		case nhaID:
			o.ID = uint32(rtnl.Uint32(value))
		case nhaOIF:
			o.Link = rtnl.Uint32(value)
		}
	}
	return o, nil
}

func parseMembers(value []byte) []uint32 {
	members := make([]uint32, 0, len(value)/sizeofMember)
	for ; len(value) >= sizeofMember; value = value[sizeofMember:] {
		members = append(members, binary.NativeEndian.Uint32(value))
	}
	return members
}
