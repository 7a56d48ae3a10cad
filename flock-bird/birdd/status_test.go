// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/health"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/tor"
)

// status runs "birdd status" on the node.
func (s *site) status() *status.Report {
	s.Helper()
	out, err := s.node.Run(s.Context(), os.Args[0], "status", "--state-dir", s.dir, "-o", "json")
	must(s.T, err)
	report := new(status.Report)
	must(s.T, json.Unmarshal([]byte(out), report))
	return report
}

// wantProblem waits until birdd has exactly one problem, in the area and with the text in it; with no
// area, none.
func (s *site) wantProblem(area, text string) {
	s.Helper()
	s.eventually("birdd's problem is "+area, func() error {
		problems := s.status().Problems
		if area == "" && len(problems) == 0 {
			return nil
		}
		if len(problems) == 1 && problems[0].Area == area && strings.Contains(problems[0].Text, text) {
			return nil
		}
		return fmt.Errorf("it has %+v", slices.Clone(problems))
	})
}

// note makes the claim that flock-bird makes of a pod's anycast addresses.
func (s *site) note(namespace, name string, addrs ...string) {
	s.Helper()
	c := claim.Claim{Pod: cni.Pod{Namespace: namespace, Name: name}, Link: "pod", Table: 7273}
	for _, a := range addrs {
		c.Anycast = append(c.Anycast, netip.MustParseAddr(a))
	}
	keeper := claim.Keeper{Store: store.Store{Dir: s.dir}, Stage: announce.Stage}
	nothing := func(*store.Tx) error { return nil }
	must(s.T, keeper.Take(cni.Attachment{Network: "flock", ContainerID: name, IfName: "eth0"}, c, nothing, func() error { return nil }))
}

// renamed returns the names with another in place of one.
func renamed(names []string, name, other string) []string {
	for i := range names {
		if names[i] == name {
			names[i] = other
		}
	}
	return names
}

// TestStatus looks at a node with a session up, one down, addresses of both kinds, and no birdd.
func TestStatus(t *testing.T) { bySpeaker(t, testStatus) }

func testStatus(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	s.start(strings.Replace(spec6, "peers: [", `peers: [{name: absent, address: "fd00:1::99", peerASN: 64501}, `, 1), tor.IPv6)
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 16")
	s.ip("-6 route add 2001:db8:f::8 dev pod table 7273 proto 73 metric 20")
	s.ip("-6 route add 2001:db8:f::8 dev pod1 table 7273 proto 73 metric 21")
	s.note("web", "a", "2001:db8:f::8", "2001:db8:f::9")
	s.wantSessions(1)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	must(t, s.birdd.End(t.Context(), os.Kill))
	want := &status.Report{
		Speaker: status.Speaker{Name: kind, RouterID: netip.MustParseAddr("10.0.1.2")},
		Sessions: []status.Session{
			{Peer: "absent", Name: "peer_absent", Address: netip.MustParseAddr("fd00:1::99"), ASN: 64501, Families: []status.Family{{Name: "ipv6"}}},
			{Peer: "tor", Name: "peer_tor", Address: netip.MustParseAddr("fd00:1::1"), ASN: 64500, State: "Established", Received: 1, Exported: 3,
				Families: []status.Family{{Name: "ipv6", Received: 1, Exported: 3}}},
		},
		Summaries: []status.Summary{{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Main: "blackhole", Announced: true, SentTo: []string{"peer_tor"}}},
		Addresses: []status.Address{
			{Address: netip.MustParseAddr("2001:db8:f::7"), Announced: true, Links: []string{"pod"}},
			{Address: netip.MustParseAddr("2001:db8:f::8"), Anycast: true, Announced: true, Links: []string{"pod", "pod1"}, Pods: []string{"web/a"}},
			{Address: netip.MustParseAddr("2001:db8:f::9"), Anycast: true, Links: []string{}, Pods: []string{"web/a"}},
		},
		Problems: []health.Problem{},
	}
	s.eventually("the status is right", func() error {
		got := s.status()
		for i := range min(len(got.Sessions), len(want.Sessions)) { // what depends on time
			got.Sessions[i].Since = time.Time{}
			if kind != onBIRD { // whose names are its own
				for j := range got.Summaries {
					got.Summaries[j].SentTo = renamed(got.Summaries[j].SentTo, got.Sessions[i].Name, want.Sessions[i].Name)
				}
				got.Sessions[i].Name = want.Sessions[i].Name
			}
			if got.Sessions[i].Peer == "absent" {
				got.Sessions[i].State, got.Sessions[i].LastError = "", ""
			}
		}
		got.Speaker.Version = ""
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	s.endSpeaker()
	out, err := s.node.Run(t.Context(), os.Args[0], "status", "--state-dir", s.dir)
	if err != nil || !strings.HasPrefix(out, s.area()+" does not answer: ") || !strings.Contains(out, "2001:db8:1::/64  blackhole   yes        nobody") {
		t.Errorf("without BIRD: %v\n%s", err, out)
	}
}
