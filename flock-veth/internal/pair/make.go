// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-veth/internal/sysctl"
	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// ErrIfNameExists says that the pod has an interface of the wanted name which is not this attachment's,
// ErrTaken that the host has a link of the wanted name which is not.
var (
	ErrIfNameExists = errors.New("the pod already has an interface of that name")
	ErrTaken        = errors.New("the link belongs to something else")
)

// Ensure makes the pair as the spec says and returns its MTU. A pair of the attachment that is there
// whole is left alone, with the MTU it has; one that is not is made anew. After an error there is none.
func Ensure(host *rtnl.Conn, netns *Netns, s Spec) (mtu int, err error) {
	link, err := create(host, netns, s)
	if errors.Is(err, errWhole) {
		return link.MTU, nil
	}
	if err != nil {
		return 0, err
	}
	if err = setUp(host, netns, s, link); err == nil {
		return s.MTU, nil
	}
	return 0, errors.Join(err, undo(host, netns, s, link))
}

// errWhole is create's word for a pair that needs nothing.
var errWhole = errors.New("the pair is there")

// createTries bounds create. A second try follows the removal of what is not whole.
const createTries = 3

// create makes the bare pair, and returns its host side as the kernel has it. What stands in the way is
// removed if it is a pair of this attachment that is not whole.
func create(host *rtnl.Conn, netns *Netns, s Spec) (wire.Link, error) {
	for range createTries {
		answers, err := host.Ask(wire.CreateVeth(s.hostEnd(), s.podEnd(), netns.fd), wire.GetLink(s.HostName))
		if err != nil {
			return wire.Link{}, err
		}
		created, got := answers[0].Err, answers[1]
		switch {
		case created == nil && got.Err == nil:
			return wire.ParseLink(got.Data)
		case created == nil:
			return wire.Link{}, got.Err
		case !errors.Is(created, unix.EEXIST):
			return wire.Link{}, created
		case errors.Is(got.Err, unix.ENODEV):
			return wire.Link{}, fmt.Errorf("create %s in %s: %w", s.IfName, netns.path, ErrIfNameExists)
		case got.Err != nil:
			return wire.Link{}, got.Err
		}
		link, err := wire.ParseLink(got.Data)
		if err != nil {
			return wire.Link{}, err
		}
		if err := makeWay(host, netns, s, link); err != nil {
			return link, err
		}
	}
	return wire.Link{}, fmt.Errorf("create link %s: somebody else makes it again and again", s.HostName)
}

// makeWay decides about a link that has the pair's name on the host.
func makeWay(host *rtnl.Conn, netns *Netns, s Spec, link wire.Link) error {
	if err := s.owns(link); err != nil {
		return fmt.Errorf("create link %s: %w", s.HostName, err)
	}
	asItIs := s
	asItIs.MTU = link.MTU
	err := Check(host, netns, asItIs)
	if err == nil {
		return errWhole
	}
	if different := Difference(""); !errors.As(err, &different) {
		return err
	}
	return dismantle(host, netns, s, link)
}

// setUp configures the host side, then the pod's: nothing is sent before both are ready.
func setUp(host *rtnl.Conn, netns *Netns, s Spec, link wire.Link) error {
	if err := guard(link, s.has6()); err != nil {
		return err
	}
	reqs := []*rtnl.Request{
		wire.Set(link.Dev, wire.Settings{Alias: s.Alias, Group: rtnl.LinkGroup, Router: s.has4(), NoLinkLocal: link.IPv6.Exists}),
		// Up in a message of its own: the kernel tells all its parts of a link that is changed while it is up,
		// and IPv6's then walks through all of the node's routes.
		wire.Set(link.Dev, wire.Settings{Up: true}),
	}
	if s.has4() {
		reqs = append(reqs, wire.NoProxyDelay(link.Dev))
	}
	reqs = appendAll(reqs, s.hostAddrs(link.Dev))
	reqs = appendAll(reqs, s.hostRoutes(link.Dev))
	reqs = appendAll(reqs, s.hostNeighs(link.Dev))
	if err := host.Do(reqs...); err != nil {
		return err
	}
	err := netns.visit(host, func(pod *rtnl.Conn) error {
		if link.IPv6.Exists {
			if err := quiet(s); err != nil {
				return err
			}
		}
		return pod.Do(s.podRequests(wire.Dev{Index: link.Peer, Name: s.IfName}, link.IPv6.Exists)...)
	})
	if err != nil {
		return err
	}
	// The pod's side brought the host's its carrier. Without it the host drops packets and its routes
	// count as down until a worker of the kernel gets to it; being asked, newer kernels do it at once.
	return host.Do(wire.GetLink(link.Name))
}

func (s Spec) podRequests(pod wire.Dev, ipv6 bool) []*rtnl.Request {
	reqs := []*rtnl.Request{wire.Set(wire.Loopback, wire.Settings{Up: true})}
	if ipv6 {
		reqs = append(reqs, wire.Set(pod, wire.Settings{NoLinkLocal: true}))
	}
	reqs = append(reqs, wire.Set(pod, wire.Settings{Up: true}))
	// Addresses first: packets to an IPv6 one are taken in when a worker of the kernel has seen it, which
	// happens while the rest is done.
	reqs = appendAll(reqs, s.podAddrs(pod))
	reqs = appendAll(reqs, s.loAddrs())
	reqs = appendAll(reqs, s.podNeighs(pod))
	return appendAll(reqs, s.podRoutes(pod))
}

func appendAll[T interface{ Add() *rtnl.Request }](reqs []*rtnl.Request, objects []T) []*rtnl.Request {
	for _, o := range objects {
		reqs = append(reqs, o.Add())
	}
	return reqs
}

// guard makes the host side a router for IPv6 where the node's defaults do not, and keeps the pod from
// advertising itself as the node's router.
func guard(link wire.Link, has6 bool) error {
	conf := link.IPv6
	if !conf.Exists || (conf.Disabled != 0 && !has6) {
		return nil
	}
	if has6 && conf.Disabled != 0 {
		if err := sysctl.Set(sysctl.Link(link.Name, "disable_ipv6"), "0"); err != nil {
			return err
		}
		conf.Disabled = 0
	}
	if has6 && conf.Forwarding == 0 {
		if err := sysctl.Set(sysctl.Link(link.Name, "forwarding"), "1"); err != nil {
			return err
		}
		conf.Forwarding = 1
	}
	if !conf.HeedsRAs() {
		return nil
	}
	return sysctl.Set(sysctl.Link(link.Name, "accept_ra"), "0")
}

// quiet keeps the pod's interface from configuring itself, and enables IPv6 on it, and on lo, where the
// pod has addresses of it.
func quiet(s Spec) error {
	err := errors.Join(
		sysctl.Set(sysctl.Link(s.IfName, "accept_ra"), "0"),
		sysctl.Set(sysctl.Link(s.IfName, "autoconf"), "0"))
	if err != nil || !s.has6() {
		return err
	}
	for _, dev := range []string{s.IfName, wire.Loopback.Name} {
		if err := sysctl.Replace(sysctl.Link(dev, "disable_ipv6"), "1", "0"); err != nil {
			return err
		}
	}
	return nil
}
