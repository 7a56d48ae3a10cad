// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
)

// TestDualStack: the pools reach the router and single addresses as they come and go, and the node has its default routes.
func TestDualStack(t *testing.T) {
	s := newSite(t, 1)
	s.announceSummaries()
	s.start(s.config(tor6(1), tor4(1)), router46)
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter)
	s.wantRoutes(s.node, default6, default4)
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 20")
	s.ip("-4 route add 192.0.2.7 dev pod table 7273 proto 73 metric 20")
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter,
		"2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32", "192.0.2.7 via 10.0.1.2 dev node proto bird metric 32")
	s.ip("link del pod")
	s.wantRoutes(s.routers[0].Netns, pool6AtRouter, pool4AtRouter)
	s.wantRoutes(s.node, default6, default4)
}
