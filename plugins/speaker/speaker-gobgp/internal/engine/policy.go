// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/api"
	"google.golang.org/protobuf/proto"
)

// The names of the policies in GoBGP.
const (
	globalTable  = "global"
	exportPolicy = "announce"
	importPolicy = "own"
)

// initPolicy lets nothing into GoBGP's table but the node's own, and everything of that out.
func (e *Engine) initPolicy(ctx context.Context) error {
	if err := e.setPolicy(nil); err != nil {
		return err
	}
	for _, a := range []*api.PolicyAssignment{
		{Name: globalTable, Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
			Policies: []*api.Policy{{Name: importPolicy}}},
		{Name: globalTable, Direction: api.PolicyDirection_POLICY_DIRECTION_EXPORT, DefaultAction: api.RouteAction_ROUTE_ACTION_ACCEPT,
			Policies: []*api.Policy{{Name: exportPolicy}}},
	} {
		if err := e.bgp.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: a}); err != nil {
			return fmt.Errorf("set GoBGP's policy: %w", err)
		}
	}
	return nil
}

// setPolicy has GoBGP add to its announcements what each neighbor is to be sent with them.
func (e *Engine) setPolicy(neighbors map[netip.Addr]Neighbor) error {
	policies := policiesFor(neighbors)
	if proto.Equal(policies, e.policies) {
		return nil
	}
	if err := e.bgp.SetPolicies(context.Background(), policies); err != nil {
		return fmt.Errorf("set GoBGP's policies: %w", err)
	}
	e.policies = policies
	return nil
}

func policiesFor(neighbors map[netip.Addr]Neighbor) *api.SetPoliciesRequest {
	own := &api.Policy{Name: importPolicy, Statements: []*api.Statement{{
		Name:       importPolicy,
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}
	announce := &api.Policy{Name: exportPolicy}
	var sets []*api.DefinedSet
	for _, addr := range slices.SortedFunc(maps.Keys(neighbors), netip.Addr.Compare) {
		name := "neighbor " + addr.String()
		sets = append(sets, &api.DefinedSet{
			DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: name, List: []string{addr.WithZone("").String()}})
		announce.Statements = append(announce.Statements, &api.Statement{
			Name:       name,
			Conditions: &api.Conditions{NeighborSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: name}},
			Actions:    neighbors[addr].actions(),
		})
	}
	return &api.SetPoliciesRequest{DefinedSets: sets, Policies: []*api.Policy{own, announce}}
}

// actions are what is done to announcements on their way to the neighbor.
func (n Neighbor) actions() *api.Actions {
	a := &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT}
	if list := n.Peer.Communities; len(list) > 0 {
		a.Community = &api.CommunityAction{Type: api.CommunityAction_TYPE_ADD}
		for _, c := range list {
			a.Community.Communities = append(a.Community.Communities, fmt.Sprintf("%d:%d", c[0], c[1]))
		}
	}
	if list := n.Peer.LargeCommunities; len(list) > 0 {
		a.LargeCommunity = &api.CommunityAction{Type: api.CommunityAction_TYPE_ADD}
		for _, c := range list {
			a.LargeCommunity.Communities = append(a.LargeCommunity.Communities, fmt.Sprintf("%d:%d:%d", c[0], c[1], c[2]))
		}
	}
	if n.Peer.MED != nil {
		a.Med = &api.MedAction{Type: api.MedAction_TYPE_REPLACE, Value: int64(*n.Peer.MED)}
	}
	if n.Peer.LocalPref != nil {
		a.LocalPref = &api.LocalPrefAction{Value: *n.Peer.LocalPref}
	}
	return a
}
