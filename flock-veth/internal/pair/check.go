// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// Difference is the error that names the first thing in which the kernel differs from a spec.
type Difference string

// Error returns the difference as one sentence.
func (d Difference) Error() string { return string(d) }

func differs(format string, args ...any) error { return Difference(fmt.Sprintf(format, args...)) }

// Check compares the kernel with the spec. It returns a [Difference] for the first one, and any other
// error where the kernel does not tell.
func Check(host *rtnl.Conn, netns *Netns, s Spec) error {
	link, err := find(host, s.HostName)
	if errors.Is(err, unix.ENODEV) {
		return differs("link %s is missing on the host", s.HostName)
	}
	if err != nil {
		return err
	}
	if err := s.checkHost(host, link); err != nil {
		return err
	}
	return netns.visit(host, func(pod *rtnl.Conn) error { return s.checkPod(pod, link) })
}

func (s Spec) checkHost(host *rtnl.Conn, link wire.Link) error {
	switch {
	case link.Alias != s.Alias:
		return differs("link %s on the host has alias %q, not %q", link.Name, link.Alias, s.Alias)
	case link.Group != rtnl.LinkGroup:
		return differs("link %s on the host is in group %d, not %d", link.Name, link.Group, rtnl.LinkGroup)
	case s.has4() && (link.IPv4.Forwarding == 0 || link.IPv4.ProxyARP == 0):
		return differs("link %s on the host does not forward IPv4 with proxy_arp: they are %d and %d, not 1", link.Name, link.IPv4.Forwarding, link.IPv4.ProxyARP)
	case s.has6() && (link.IPv6.Forwarding == 0 || link.IPv6.Disabled != 0):
		return differs("link %s on the host does not forward IPv6: forwarding is %d, disable_ipv6 %d", link.Name, link.IPv6.Forwarding, link.IPv6.Disabled)
	}
	if err := compareLink("on the host", link, s.hostEnd()); err != nil {
		return err
	}
	addrs, err := addrsOf(host, link.Dev)
	if err := lacks("the host", addrs, s.hostAddrs(link.Dev), err); err != nil {
		return err
	}
	routes, err := routesOf(host, link.Dev)
	if err := lacks("the host", routes, listed(s.hostRoutes(link.Dev)), err); err != nil {
		return err
	}
	neighs, err := neighsOf(host, link.Dev)
	return lacks("the host", neighs, s.hostNeighs(link.Dev), err)
}

func (s Spec) checkPod(pod *rtnl.Conn, host wire.Link) error {
	end, err := otherEnd(pod, s.IfName, host)
	switch {
	case errors.Is(err, unix.ENODEV):
		return differs("link %s is missing in the pod", s.IfName)
	case err != nil:
		return err
	case end.IPv6.Exists && end.IPv6.Disabled == 0 && end.IPv6.AcceptRA != 0:
		return differs("link %s in the pod has accept_ra %d, not 0", s.IfName, end.IPv6.AcceptRA)
	}
	if err := compareLink("in the pod", end, s.podEnd()); err != nil {
		return err
	}
	addrs, err := addrsOf(pod, end.Dev)
	if err := lacks("the pod", addrs, s.podAddrs(end.Dev), err); err != nil {
		return err
	}
	if err := s.checkLoopback(pod); err != nil {
		return err
	}
	routes, err := routesOf(pod, end.Dev)
	if err := lacks("the pod", routes, listed(s.podRoutes(end.Dev)), err); err != nil {
		return err
	}
	neighs, err := neighsOf(pod, end.Dev)
	return lacks("the pod", neighs, s.podNeighs(end.Dev), err)
}

// otherEnd returns the pair's end in the pod. A link of its name that is none is a [Difference], and no
// such link the error ENODEV.
func otherEnd(pod *rtnl.Conn, ifName string, host wire.Link) (wire.Link, error) {
	end, err := find(pod, ifName)
	if err == nil && (end.Index != host.Peer || end.Peer != host.Index) {
		err = differs("link %s in the pod is not the other end of %s", ifName, host.Name)
	}
	return end, err
}

func (s Spec) checkLoopback(pod *rtnl.Conn) error {
	lo, err := find(pod, wire.Loopback.Name)
	if err != nil {
		return err
	}
	if !lo.Up {
		return differs("link lo in the pod is down")
	}
	addrs, err := addrsOf(pod, wire.Loopback)
	return lacks("the pod", addrs, s.loAddrs(), err)
}

func compareLink(where string, have, want wire.Link) error {
	switch {
	case !have.Up:
		return differs("link %s %s is down", have.Name, where)
	case have.MAC != want.MAC:
		return differs("link %s %s has MAC address %s, not %s", have.Name, where, have.MAC, want.MAC)
	case want.MTU != 0 && have.MTU != want.MTU:
		return differs("link %s %s has MTU %d, not %d", have.Name, where, have.MTU, want.MTU)
	}
	return nil
}

// lacks names the first of the wanted objects that is not among those listed.
func lacks[T interface {
	comparable
	fmt.Stringer
}](who string, have, want []T, err error) error {
	if err != nil {
		return err
	}
	for _, w := range want {
		if !slices.Contains(have, w) {
			return differs("%s lacks %s", who, w)
		}
	}
	return nil
}

func listed(routes []wire.Route) []wire.Route {
	for i := range routes {
		routes[i] = routes[i].Listed()
	}
	return routes
}
