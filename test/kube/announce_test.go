// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/test/lab"
)

// Addresses from no pool: anycast ones, and those that one pod asks for.
const (
	anycast6 = "2001:db8:a::53"
	anycast4 = "192.0.2.53"
	other6   = "2001:db8:a::54"
	fixed6   = "2001:db8:f::10"
	fixed4   = "198.51.100.10"
)

// awaitAnnounced waits until the router reaches the addresses through the node, or does not.
func (s *site) awaitAnnounced(announced bool, addresses ...string) {
	s.t.Helper()
	var through []*lab.Node
	if announced {
		through = []*lab.Node{s.Node}
	}
	for _, a := range addresses {
		check(s.t, s.Lab().Router.AwaitHops(s.t.Context(), within, netip.MustParseAddr(a), through...))
	}
}

// owned tells whether the store has the pod's attachment.
func (s *site) owned(p *pod) (bool, error) {
	lines, err := lab.Allocations(s.StateDir())
	return slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, p.ContainerID) }), err
}

// awaitReleased waits until ipamd has given back the pod's addresses.
func (s *site) awaitReleased(p *pod) {
	s.t.Helper()
	await(s.t, "the addresses of "+p.object.Name+" are released", func() error {
		owned, err := s.owned(p)
		if err == nil && owned {
			err = fmt.Errorf("it has %v", p.Addresses())
		}
		return err
	})
}
