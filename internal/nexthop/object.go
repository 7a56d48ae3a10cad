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
	nhaID    = 1
	nhaGroup = 2
	nhaOIF   = 5
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
}

// String returns the object as ip(8) shows it, with numbers where ip knows names.
func (o Object) String() string {
	if o.Members == nil {
		return fmt.Sprintf("id %d dev #%d proto %d", o.ID, o.Link, o.Proto)
	}
	return fmt.Sprintf("id %d group %d proto %d", o.ID, o.Members, o.Proto)
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
	bodies, err := c.List(unix.RTM_GETNEXTHOP, header{})
	if err != nil {
		return nil, fmt.Errorf("list nexthops: %w", err)
	}
	objects := make([]Object, 0, len(bodies))
	for _, body := range bodies {
		o, err := parse(body)
		if err != nil {
			return nil, fmt.Errorf("list nexthops: %w", err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// Get returns the object with the ID, and whether there is one.
func Get(c *rtnl.Conn, id uint32) (Object, bool, error) {
	bodies, err := c.Get(unix.RTM_GETNEXTHOP, header{}, &nl.Uint32Attribute{Type: nhaID, Value: id})
	if errors.Is(err, unix.ENOENT) {
		return Object{}, false, nil
	}
	if err == nil && len(bodies) == 0 {
		err = errors.New("empty answer")
	}
	if err != nil {
		return Object{}, false, fmt.Errorf("look up nexthop %d: %w", id, err)
	}
	o, err := parse(bodies[0])
	return o, err == nil, err
}

// Add adds an object. Its ID being in use is an error that matches [unix.EEXIST].
func Add(c *rtnl.Conn, o Object) error {
	if err := c.Send(unix.RTM_NEWNEXTHOP, unix.NLM_F_CREATE|unix.NLM_F_EXCL, o.message()...); err != nil {
		return fmt.Errorf("add nexthop %s: %w", o, err)
	}
	return nil
}

// Replace changes an object in place; the routes through it follow. There being none with its ID is an
// error that matches [unix.ENOENT], a member that is gone one that matches [unix.EINVAL].
func Replace(c *rtnl.Conn, o Object) error {
	if err := c.Send(unix.RTM_NEWNEXTHOP, unix.NLM_F_REPLACE, o.message()...); err != nil {
		return fmt.Errorf("replace nexthop %s: %w", o, err)
	}
	return nil
}

// Delete deletes the object with the ID. The kernel takes it out of every group, and with its last
// member a group goes, and with that its routes. Deleting what is absent is not an error.
func Delete(c *rtnl.Conn, id uint32) error {
	err := c.Send(unix.RTM_DELNEXTHOP, 0, header{}, &nl.Uint32Attribute{Type: nhaID, Value: id})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete nexthop %d: %w", id, err)
	}
	return nil
}

func (o Object) message() []nl.NetlinkRequestData {
	parts := []nl.NetlinkRequestData{header{o.Family, o.Proto}, &nl.Uint32Attribute{Type: nhaID, Value: o.ID}}
	if o.Members == nil {
		return append(parts, &nl.Uint32Attribute{Type: nhaOIF, Value: uint32(o.Link)})
	}
	members := make([]byte, sizeofMember*len(o.Members))
	for i, id := range o.Members {
		binary.NativeEndian.PutUint32(members[sizeofMember*i:], id) // weight and the rest 0: equal shares
	}
	return append(parts, nl.NewRtAttr(nhaGroup, members))
}

func parse(body []byte) (Object, error) {
	if len(body) < sizeofNhmsg {
		return Object{}, errors.New("short nexthop message from the kernel")
	}
	o := Object{Family: body[0], Proto: netlink.RouteProtocol(body[2])}
	attrs, err := nl.ParseRouteAttr(body[sizeofNhmsg:])
	if err != nil {
		return Object{}, fmt.Errorf("parse a nexthop message: %w", err)
	}
	for _, attr := range attrs {
		switch {
		case attr.Attr.Type == nhaGroup:
			o.Members = parseMembers(attr.Value)
		case attr.Attr.Type == nhaID && len(attr.Value) == 4:
			o.ID = binary.NativeEndian.Uint32(attr.Value)
		case attr.Attr.Type == nhaOIF && len(attr.Value) == 4:
			o.Link = int(binary.NativeEndian.Uint32(attr.Value))
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
