// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"maps"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// announced knows to which link each IPv4 route of the announcement table leads. The kernel tells of
// such a route's coming and going, but not when it goes with its link: then the route is still known here
// when the link's end is told, which is after the route has gone.
type announced struct {
	conn  *rtnl.Conn
	table uint32
	links map[place]int
}

// place holds one route at most.
type place struct {
	dst    netip.Prefix
	metric uint32
}

// list asks the kernel for the routes that there are.
func (a *announced) list() error {
	routes, err := a.conn.Routes(unix.AF_INET, rtnl.Route{Table: a.table})
	if err != nil {
		return err
	}
	a.links = map[place]int{}
	for _, r := range routes {
		a.links[place{r.Dst, r.Metric}] = r.Link
	}
	return nil
}

// died takes a message in and tells whether routes have gone with a link. A link that leaves a bridge is
// told of like a dead one, but as one of the bridge's family.
func (a *announced) died(m syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		a.change(m)
	case unix.RTM_DELLINK:
		if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
			return false
		}
		index, before := int(nl.DeserializeIfInfomsg(m.Data).Index), len(a.links)
		maps.DeleteFunc(a.links, func(_ place, link int) bool { return link == index })
		return len(a.links) < before
	}
	return false
}

func (a *announced) change(m syscall.NetlinkMessage) {
	r, err := rtnl.ParseRoute(m.Data)
	switch at := (place{r.Dst, r.Metric}); {
	case err != nil || r.Table != a.table || !r.Dst.Addr().Is4():
	case m.Header.Type == unix.RTM_NEWROUTE:
		a.links[at] = r.Link
	default:
		delete(a.links, at)
	}
}
