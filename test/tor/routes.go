// SPDX-License-Identifier: Apache-2.0

package tor

import (
	"context"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/lab"
)

// Routes returns the routes of a namespace's table as ip(8) shows them, one a line, in order, those of links apart.
// A table that there is not has none.
func Routes(ctx context.Context, n *lab.Netns, table string) ([]string, error) {
	var routes []string
	for _, family := range []string{"-6", "-4"} {
		out, err := n.Run(ctx, "ip", family, "route", "show", "table", table)
		if err != nil && strings.Contains(err.Error(), "FIB table does not exist") {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = strings.ReplaceAll(out, "\n\tnexthop", " nexthop")
		for line := range strings.Lines(out) {
			line = strings.NewReplacer(" pref medium", "", " dev lo", "", " scope link", "").Replace(line)
			if fields := strings.Fields(line); len(fields) > 0 && !strings.Contains(line, "proto kernel") {
				routes = append(routes, SortHops(strings.Join(fields, " ")))
			}
		}
	}
	slices.Sort(routes)
	return routes, nil
}

// SortHops brings the next hops of one route into an order.
func SortHops(route string) string {
	hops := strings.Split(route, " nexthop ")
	slices.Sort(hops[1:])
	return strings.Join(hops, " nexthop ")
}

// Losses notes every route that a namespace loses, those to its own addresses apart; the function returns their prefixes.
func Losses(ctx context.Context, n *lab.Netns) (func() []string, error) {
	updates := make(chan netlink.RouteUpdate, 1000)
	if err := n.Do(func() error { return netlink.RouteSubscribe(updates, ctx.Done()) }); err != nil {
		return nil, err
	}
	return func() []string {
		var lost []string
		for {
			select {
			case u := <-updates:
				if u.Type == unix.RTM_DELROUTE && u.Table != unix.RT_TABLE_LOCAL {
					lost = append(lost, u.Dst.String())
				}
			default:
				return lost
			}
		}
	}, nil
}
