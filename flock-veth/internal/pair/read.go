// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"fmt"
	"net/netip"

	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// Stands tells whether the attachment has a pair, whole or not.
func Stands(host *rtnl.Conn, s Spec) bool {
	_, err := s.host(host)
	return err == nil
}

// Read returns the spec with the addresses and routes that the attachment's pair has. The addresses are
// those that the host has neighbours for: they are complete before the pod's side is begun.
func Read(host *rtnl.Conn, netns *Netns, s Spec) (Spec, error) {
	link, err := s.host(host)
	if err != nil {
		return s, err
	}
	neighs, err := neighsOf(host, link.Dev)
	if err != nil {
		return s, err
	}
	s.Unicast = podsOf(neighs, s.PodMAC)
	return s, netns.visit(host, func(pod *rtnl.Conn) error {
		end, err := otherEnd(pod, s.IfName, link)
		if err != nil {
			return err
		}
		routes, err := routesOf(pod, end.Dev)
		for _, r := range routes {
			if r.Via == Gateway(r.Dst.Addr()) {
				s.Routes = append(s.Routes, s.asGiven(r))
			}
		}
		return err
	})
}

// podsOf returns the addresses among the neighbours that are the pod's.
func podsOf(neighs []wire.Neigh, mac wire.MAC) (ips []netip.Addr) {
	for _, n := range neighs {
		if n.MAC == mac {
			ips = append(ips, n.IP)
		}
	}
	return ips
}

// asGiven is the opposite of what podRoutes and the kernel make of a route.
func (s Spec) asGiven(r wire.Route) wire.Route {
	usual := secondaryMetric + r.Dev.Index
	if s.IfName == primary {
		usual = wire.Route{Dst: r.Dst}.Listed().Metric
	}
	if r.Metric == usual {
		r.Metric = 0
	}
	r.Dev, r.Via = wire.Dev{}, netip.Addr{}
	return r
}

// host returns the attachment's link on the host: the error is [ErrTaken] where the name is something
// else's, ENODEV where it is nothing's.
func (s Spec) host(c *rtnl.Conn) (wire.Link, error) {
	link, err := find(c, s.HostName)
	if err != nil {
		return wire.Link{}, err
	}
	if err := s.owns(link); err != nil {
		return wire.Link{}, err
	}
	return link, nil
}

// owns returns nil for the attachment's link on the host, be it a draft.
func (s Spec) owns(link wire.Link) error {
	if link.Name == s.HostName && (link.Alias == s.Alias || isDraft(link, s.Draft)) {
		return nil
	}
	if other, ok := rtnl.ParseAlias(link.Alias); ok {
		return fmt.Errorf("%w: its alias names the attachment %s", ErrTaken, other)
	}
	return fmt.Errorf("%w: it is a link named %s of kind %q with alias %q", ErrTaken, link.Name, link.Kind, link.Alias)
}

// isDraft tells whether a link on the host is a pair of the group's network that was never finished.
func isDraft(link wire.Link, group int) bool {
	return link.Alias == "" && link.Kind == "veth" && link.Group == group && link.MAC == HostMAC
}

func find(c *rtnl.Conn, name string) (wire.Link, error) {
	answer, err := c.Get(wire.GetLink(name))
	if err != nil {
		return wire.Link{}, err
	}
	return wire.ParseLink(answer)
}

func addrsOf(c *rtnl.Conn, d wire.Dev) ([]wire.Addr, error) {
	return rtnl.List(c, wire.ListAddrs(d), func(b []byte) (wire.Addr, error) { return wire.ParseAddr(d, b) })
}

func neighsOf(c *rtnl.Conn, d wire.Dev) ([]wire.Neigh, error) {
	return rtnl.List(c, wire.ListNeighs(d), func(b []byte) (wire.Neigh, error) { return wire.ParseNeigh(d, b) })
}

func routesOf(c *rtnl.Conn, d wire.Dev) ([]wire.Route, error) {
	return rtnl.List(c, wire.ListRoutes(d), func(b []byte) (wire.Route, error) { return wire.ParseRoute(d, b) })
}
