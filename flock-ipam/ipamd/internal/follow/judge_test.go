// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/nodejson"
)

func TestWithoutANodeConfig(t *testing.T) {
	const none, cidrs, given = nodejson.Absent, nodejson.PodCIDRs, nodejson.Given
	const stays, nothing = "the last node.json stays in force", "pods get no address"
	for _, test := range []struct {
		synced, waited, podCIDRs bool
		file                     nodejson.Origin
		want                     string // of the problem; none where podCIDRs serve
		and                      string
	}{
		{false, false, true, none, "waiting up to 1m0s for the API server", nothing},
		{false, false, true, given, "waiting up to 1m0s for the API server", stays},
		{false, false, true, cidrs, "waiting up to 1m0s for the API server", stays},
		{false, true, true, given, "the API server has not told of NodeConfig node1 in 1m0s", stays},
		{false, true, true, cidrs, "the API server has not told of NodeConfig node1 in 1m0s", stays},
		{true, false, true, none, "waiting up to 1m0s for NodeConfig node1", nothing},
		{true, false, true, given, "waiting up to 1m0s for NodeConfig node1", stays},
		{true, false, true, cidrs, "", ""},
		{true, true, true, none, "", ""},
		{true, true, true, cidrs, "", ""},
		{true, true, true, given, "NodeConfig node1 does not exist: create it", stays},
		{true, true, false, none, "NodeConfig node1 does not exist: create it", nothing},
		{true, true, false, cidrs, "NodeConfig node1 does not exist: create it", stays},
		{true, false, false, cidrs, "waiting up to 1m0s for NodeConfig node1", stays},
	} {
		s := situation{node: "node1", synced: test.synced, waited: test.waited, wait: time.Minute, podCIDRs: test.podCIDRs, file: test.file}
		if got := s.fallsBack(); got != (test.want == "") {
			t.Errorf("%+v: falls back: %v", s, got)
		}
		if got := s.problem().Error(); !strings.Contains(got, test.want) || !strings.Contains(got, test.and) {
			t.Errorf("%+v: problem %q, want %q and %q", s, got, test.want, test.and)
		}
	}
}
