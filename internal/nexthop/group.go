// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Anycast is the route of one address to devices that have it. There may be one of each metric. Two that join at once must not do
// so for the same address: the caller holds a lock. Leaving, and the death of a device, need none.
type Anycast struct {
	Conn   *rtnl.Conn
	Addr   netip.Addr
	Table  uint32
	Proto  netlink.RouteProtocol
	Metric uint32
	// Resilient has flows stay with their device when others join or leave, where the kernel can do that.
	Resilient bool
}

// tries bounds how often a change begins again because the kernel has dropped a dead device's part
// of what was just read.
const tries = 8

// Join makes the device one of those that the address is routed to. One that is already is not an
// error. Another's route to the address is a [*rtnl.ConflictError].
func (a Anycast) Join(link int) (err error) {
	for range tries {
		err = a.join(link)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("route %s to one more device: %w", a.Addr, err)
	}
	return nil
}

func (a Anycast) join(link int) error {
	routes, err := a.Conn.Lookup(a.Addr)
	if err != nil {
		return err
	}
	if a.owns(routes[0]) {
		return a.enlarge(routes[0].Group, link)
	}
	return a.begin(link)
}

// owns tells whether the route is the one that is a. The kernel names the device of a group of one.
func (a Anycast) owns(r rtnl.Route) bool {
	r.Link = 0
	return r.Group != 0 && r == a.route(r.Group)
}

func (a Anycast) route(group uint32) rtnl.Route {
	return rtnl.Route{Dst: cni.HostPrefix(a.Addr), Table: a.Table, Type: unix.RTN_UNICAST,
		Proto: a.Proto, Metric: a.Metric, Group: group}
}

// enlarge adds the device to the group that the address is routed through.
func (a Anycast) enlarge(id uint32, link int) error {
	groups, err := Get(a.Conn, id)
	if err != nil {
		return err
	}
	group := groups[0]
	if group.ID == 0 {
		return unix.ENOENT // its last device has just died
	}
	if own, err := a.own(group.Members, link); err != nil || len(own) > 0 {
		return err
	}
	member, err := a.member(link)
	if err != nil {
		return err
	}
	group.Members = append(group.Members, member)
	return Replace(a.Conn, group)
}

// begin routes the address to its first device.
func (a Anycast) begin(link int) error {
	member, err := a.member(link)
	if err != nil {
		return err
	}
	group := Object{Proto: a.Proto, Members: []uint32{member}, Resilient: a.Resilient}
	group.ID, err = a.addGroup(group)
	if group.Resilient && errors.Is(err, unix.EINVAL) { // not before Linux 5.13
		group.Resilient = false
		group.ID, err = a.addGroup(group)
	}
	if err != nil {
		return err
	}
	err = a.Conn.AddRoute(a.route(group.ID))
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := Delete(a.Conn, group.ID); err != nil {
		return err
	}
	return a.joinHidden(link)
}

// joinHidden joins a route that exists although the look-up did not show it, because a better one, or
// a policy rule, leads this node's own packets elsewhere.
func (a Anycast) joinHidden(link int) error {
	incumbent, found, err := a.Conn.Incumbent(a.route(0))
	switch {
	case err != nil:
		return err
	case !found:
		return unix.ENOENT
	case !a.owns(incumbent):
		return &rtnl.ConflictError{Incumbent: incumbent}
	}
	return a.enlarge(incumbent.Group, link)
}

// Drop takes the device out of the route of a's metric and leaves it in those of other metrics; with the
// last device the route goes. A device that is not among them, or is gone, is not an error. Like Join it
// is for callers that hold a lock.
func (a Anycast) Drop(link int) (err error) {
	for range tries {
		err = a.drop(link)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("route %s to one device less: %w", a.Addr, err)
	}
	return nil
}

func (a Anycast) drop(link int) error {
	route, found, err := a.find()
	if err != nil || !found {
		return err
	}
	groups, err := Get(a.Conn, route.Group)
	if err != nil {
		return err
	}
	group := groups[0]
	own, err := a.own(group.Members, link)
	if err != nil || len(own) == 0 {
		return err
	}
	group.Members = slices.DeleteFunc(group.Members, func(id uint32) bool { return slices.Contains(own, id) })
	if len(group.Members) == 0 {
		return Delete(a.Conn, group.ID)
	}
	return Replace(a.Conn, group)
}

// find returns the route that is a, and whether there is one.
func (a Anycast) find() (rtnl.Route, bool, error) {
	routes, err := a.Conn.Lookup(a.Addr)
	if err != nil || a.owns(routes[0]) {
		return routes[0], err == nil, err
	}
	r, found, err := a.Conn.Incumbent(a.route(0))
	return r, found && a.owns(r), err
}

// Leave takes the device out of every route of the address, whatever its metric; with the last one the
// kernel removes the group and the route. A device that is not among them, or is gone, is not an error.
func (a Anycast) Leave(link int) error {
	ids, err := a.reached(link)
	if err != nil {
		return fmt.Errorf("route %s to one device less: %w", a.Addr, err)
	}
	return Delete(a.Conn, ids...)
}

// reached returns the IDs of the address's objects of the device: those that its route goes through, and
// the one that a killed process made and did not come to use.
func (a Anycast) reached(link int) ([]uint32, error) {
	routes, err := a.Conn.Routes(rtnl.Family(a.Addr), rtnl.Route{Table: a.Table, Proto: a.Proto, Link: link, Dst: cni.HostPrefix(a.Addr)})
	if err != nil {
		return nil, err
	}
	var groups []uint32
	for _, r := range routes {
		groups = append(groups, r.Group)
	}
	objects, err := Get(a.Conn, groups...)
	if err != nil {
		return nil, err
	}
	ids := []uint32{a.id(link)}
	for _, group := range objects {
		ids = append(ids, group.Members...)
	}
	return a.own(ids, link)
}

// own returns those of the IDs whose objects are the address's of the device.
func (a Anycast) own(ids []uint32, link int) (own []uint32, err error) {
	objects, err := Get(a.Conn, ids...)
	for _, o := range objects {
		if a.is(o, link) {
			own = append(own, o.ID)
		}
	}
	return own, err
}

// is tells whether the object is one that member returns for the device.
func (a Anycast) is(o Object, link int) bool {
	return o.ID != 0 && o.Members == nil && o.Link == link && o.Proto == a.Proto && o.Family == uint8(rtnl.Family(a.Addr))
}

// member returns the ID of the address's object of the device, which it makes unless it is there.
func (a Anycast) member(link int) (uint32, error) {
	for id := a.id(link); ; id = next(id) {
		objects, err := Get(a.Conn, id)
		if err != nil {
			return 0, err
		}
		if a.is(objects[0], link) {
			return id, nil
		}
		if objects[0].ID != 0 {
			continue // a stranger's
		}
		err = Add(a.Conn, Object{ID: id, Family: uint8(rtnl.Family(a.Addr)), Proto: a.Proto, Link: link})
		if !errors.Is(err, unix.EEXIST) {
			return id, err
		}
	}
}

// addGroup adds the group under the first free ID, and returns that.
func (a Anycast) addGroup(group Object) (uint32, error) {
	for id := a.id(0); ; id = next(id) {
		group.ID = id
		if err := Add(a.Conn, group); !errors.Is(err, unix.EEXIST) {
			return id, err
		}
	}
}

// The IDs that flock takes, far from where other programs and the kernel count from: they share one
// space in a network namespace.
const (
	firstID = 0x7000_0000
	maskID  = 0x0fff_ffff
)

// id returns the ID to try first for the address's group (link 0) or its object of a device. It is always
// the same, so that what a killed process left is found, and hardly ever another address's.
func (a Anycast) id(link int) uint32 {
	hash := fnv.New32a()
	hash.Write(a.Addr.AsSlice())
	hash.Write(binary.BigEndian.AppendUint32(nil, a.Table))
	hash.Write(binary.BigEndian.AppendUint32(nil, uint32(link)))
	return firstID + hash.Sum32()&maskID
}

func next(id uint32) uint32 { return firstID + (id+1)&maskID }
