// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ConflictError tells that another route stands where one of flock's should.
type ConflictError struct {
	Incumbent Route
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s has another route already: %s", e.Incumbent.Dst.Addr(), e.Incumbent)
}

// InstallRoutes adds device routes, and changes nothing about one whose like to its device is there. One
// of the same protocol to another device is stale and replaced; that no living attachment has the address
// is for the caller to know. Any other is a [*ConflictError]. After an error the rest may be there or not.
func (c *Conn) InstallRoutes(routes ...Route) error {
	reqs := make([]*Request, len(routes))
	for i, r := range routes {
		reqs[i] = r.add()
	}
	answers, err := c.Ask(reqs...)
	for i, a := range answers {
		if err = a.Err; a.Is(unix.EEXIST) {
			err = c.settle(routes[i])
		}
		if err != nil {
			return err
		}
	}
	return err
}

// settle installs a route in whose place another one is.
func (c *Conn) settle(r Route) error {
	incumbent, found, err := c.Incumbent(r)
	switch {
	case err != nil:
		return err
	case !found: // deleted meanwhile
		return c.AddRoute(r)
	case incumbent.Type != r.Type || incumbent.Group != 0:
		return &ConflictError{incumbent}
	case incumbent.Link == r.Link:
		return nil
	case incumbent.Proto != r.Proto:
		return &ConflictError{incumbent}
	}
	return c.ReplaceRoute(r)
}

// Incumbent returns the route that has r's destination, table and metric, and false if there is none.
func (c *Conn) Incumbent(r Route) (Route, bool, error) {
	routes, err := c.Routes(Family(r.Dst.Addr()), Route{Table: r.Table, Dst: r.Dst})
	if err != nil {
		return Route{}, false, err
	}
	for _, found := range routes {
		if found.Metric == r.Metric {
			return found, true, nil
		}
	}
	return Route{}, false, nil
}
