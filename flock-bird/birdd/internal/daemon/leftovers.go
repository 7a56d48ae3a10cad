// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// speakerMetric is that of the routes which flock's speakers install in the main table.
const speakerMetric = 32

// clearLeftovers deletes from the main table what a speaker brought that ended as for a restart, and that is not the
// node's any more. A BIRD that flock has not run left nothing.
func clearLeftovers(h *netlink.Handle, stateDir, name string) error {
	proto := netlink.RouteProtocol(unix.RTPROT_BGP)
	if name == v1alpha1.SpeakerBIRD {
		if !bird.Ran(stateDir) {
			return nil
		}
		proto = unix.RTPROT_BIRD
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN, Protocol: proto}
	routes, err := rtnl.Dump(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return fmt.Errorf("list what the speaker before left: %w", err)
	}
	var errs []error
	for _, r := range routes {
		if r.Priority != speakerMetric {
			continue
		}
		if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("delete %s, which the speaker before left: %w", r.Dst, err))
		}
	}
	return errors.Join(errs...)
}
