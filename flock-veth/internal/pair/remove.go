// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// Remove deletes the attachment's pair, and its anycast addresses from the pod's lo where netns, which may
// be nil, is given. known says that the spec has these; otherwise they are those that the host has
// neighbours for. Removing what is gone is not an error, and a link of the name that is not the
// attachment's stays.
func Remove(host *rtnl.Conn, netns *Netns, s Spec, known bool) error {
	link, err := s.host(host)
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, ErrTaken) {
		return err
	}
	standing := err == nil
	if netns != nil && (len(s.Anycast) > 0 || standing && !known) {
		if err := clearLoopback(host, netns, s, link); err != nil {
			return err
		}
	}
	if !standing {
		return nil
	}
	return remove(host, link.Dev)
}

// dismantle deletes the link and takes the addresses that it was made for off the pod's lo.
func dismantle(host *rtnl.Conn, netns *Netns, s Spec, link wire.Link) error {
	return errors.Join(clearLoopback(host, netns, s, link), remove(host, link.Dev))
}

// remove deletes a link. Deleting what is gone is not an error.
func remove(host *rtnl.Conn, d wire.Dev) error {
	if err := host.Do(wire.DeleteLink(d)); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// undo takes back what setUp has made of a pair.
func undo(host *rtnl.Conn, netns *Netns, s Spec, link wire.Link) error {
	var lo error
	if len(s.Anycast) > 0 {
		lo = netns.visit(host, func(pod *rtnl.Conn) error { return strip(pod, s.loAddrs()) })
	}
	return errors.Join(lo, remove(host, link.Dev))
}

// strip takes addresses off their device. Taking off what is not there is not an error.
func strip(pod *rtnl.Conn, addrs []wire.Addr) error {
	var reqs []*rtnl.Request
	for _, a := range addrs {
		reqs = append(reqs, a.Delete())
	}
	answers, err := pod.Ask(reqs...)
	for _, a := range answers {
		if !errors.Is(a.Err, unix.EADDRNOTAVAIL) {
			err = errors.Join(err, a.Err)
		}
	}
	return err
}

// clearLoopback takes the attachment's addresses off the pod's lo; link is zero where it is gone. A
// namespace whose interface of the name is not the pair's end is another pod's by now, and left alone.
func clearLoopback(host *rtnl.Conn, netns *Netns, s Spec, link wire.Link) error {
	ips := slices.Clone(s.Anycast)
	if link.Index != 0 {
		neighs, err := neighsOf(host, link.Dev)
		if err != nil {
			return err
		}
		ips = append(ips, podsOf(neighs, s.PodMAC)...)
	}
	return netns.visit(host, func(pod *rtnl.Conn) error {
		_, err := otherEnd(pod, s.IfName, link)
		if different := Difference(""); errors.As(err, &different) {
			return nil
		}
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
		return strip(pod, hostPrefixes(wire.Loopback, ips))
	})
}
