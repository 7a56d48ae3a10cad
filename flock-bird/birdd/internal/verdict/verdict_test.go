// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/source"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
)

var pool6 = netip.MustParsePrefix("2001:db8:1::/64")

func at(second int) time.Time { return time.Date(2026, 11, 23, 14, 31, second, 0, time.Local) }

// well is a node that announces one pool to two peers.
func well() Seen {
	return Seen{
		Config: &v1alpha1.Config{
			Name:      "node-1",
			Summaries: []netip.Prefix{pool6},
			BGP:       &v1alpha1.BGPConfig{Peers: []v1alpha1.PeerConfig{{Name: "tor-b"}, {Name: "tor-a"}}},
		},
		Report: &status.Report{
			Speaker: status.Speaker{Name: "bird"},
			Sessions: []status.Session{
				{Peer: "tor-a", Name: "peer_tor_a", State: "Established", Since: at(56), Received: 1, Exported: 2},
				{Peer: "tor-b", Name: "peer_tor_b", State: "Established", Since: at(57), Received: 1, Exported: 2},
			},
			Summaries: []status.Summary{{Prefix: pool6, Announced: true, SentTo: []string{"peer_tor_a", "peer_tor_b"}}},
		},
	}
}

// with returns a copy of a node that is well, changed.
func with(change func(*Seen)) Seen {
	s := well()
	change(&s)
	return s
}

var (
	errInvalid = fmt.Errorf("check NodeConfig: %w: spec.mtu", source.ErrInvalid)
	poolsReady = &metav1.Condition{Type: v1alpha1.ConditionPoolsReady, Status: metav1.ConditionTrue, Reason: "PoolsInUse"}
)

// picture returns one line a condition.
func picture(all []metav1.Condition) string {
	var lines []string
	for _, c := range all {
		lines = append(lines, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(lines, "\n")
}

func TestConditions(t *testing.T) {
	const allUp = "Established=True AllEstablished: 2 of 2 peers\n"
	for _, test := range []struct {
		name  string
		seen  Seen
		pools *metav1.Condition
		want  string
	}{
		{"well", well(), poolsReady,
			allUp + "Announced=True SummariesAnnounced: 1 of 1 pools\nReady=True EverythingTrue: the node is well"},
		{"ipamd has not spoken", well(), nil,
			allUp + "Announced=True SummariesAnnounced: 1 of 1 pools\nReady=False NotYetKnown: PoolsReady: ipamd has not said"},
		{"a peer is down", with(func(s *Seen) {
			s.Report.Sessions[0].State, s.Report.Sessions[0].LastError = "Active", "Socket: Connection refused"
		}), poolsReady,
			"Established=False PeersDown: 1 of 2 peers; tor-a is Active: Socket: Connection refused\nAnnounced=True SummariesAnnounced: 1 of 1 pools\n" +
				"Ready=False PeersDown: Established: 1 of 2 peers; tor-a is Active: Socket: Connection refused"},
		{"a peer has no password", with(func(s *Seen) {
			s.Report.Sessions, s.LeftOut = s.Report.Sessions[1:], map[string]string{"tor-a": "left out: no Secret"}
		}), poolsReady,
			"Established=False PeersDown: 1 of 2 peers; tor-a is Absent: left out: no Secret\nAnnounced=True SummariesAnnounced: 1 of 1 pools\n" +
				"Ready=False PeersDown: Established: 1 of 2 peers; tor-a is Absent: left out: no Secret"},
		{"no peers", with(func(s *Seen) { s.Config.BGP.Peers = nil; s.Report.Summaries[0].SentTo = nil }), poolsReady,
			"Established=False NoPeers: the NodeConfig that birdd goes by has none\nAnnounced=False SummariesNotAnnounced: 2001:db8:1::/64 was sent to no peer\n" +
				"Ready=False NoPeers: Established: the NodeConfig that birdd goes by has none"},
		{"a summary is missing", with(func(s *Seen) { s.Report.Summaries[0].Announced = false }), poolsReady,
			allUp + "Announced=False SummariesNotAnnounced: 2001:db8:1::/64 is not in the announcement table\n" +
				"Ready=False SummariesNotAnnounced: Announced: 2001:db8:1::/64 is not in the announcement table"},
		{"invalid with one before", with(func(s *Seen) { s.ConfigErr = errInvalid }), poolsReady,
			allUp + "Announced=False InvalidNodeConfig: birdd keeps to the NodeConfig before this one: check NodeConfig: invalid: spec.mtu\n" +
				"Ready=False InvalidNodeConfig: Announced: birdd keeps to the NodeConfig before this one: check NodeConfig: invalid: spec.mtu"},
		{"invalid from the start", with(func(s *Seen) { s.ConfigErr, s.Config = errInvalid, nil }), poolsReady,
			"Established=False InvalidNodeConfig: check NodeConfig: invalid: spec.mtu\nAnnounced=False InvalidNodeConfig: check NodeConfig: invalid: spec.mtu\n" +
				"Ready=False InvalidNodeConfig: Established: check NodeConfig: invalid: spec.mtu"},
		{"refused by BIRD", with(func(s *Seen) { s.SpeakerErr = errors.New("no session came up again") }), poolsReady,
			allUp + "Announced=False ConfigurationNotLoaded: no session came up again\nReady=False ConfigurationNotLoaded: Announced: no session came up again"},
		{"BIRD is away", with(func(s *Seen) { s.Report.Speaker.Error = "connect to BIRD" }), poolsReady,
			"Established=Unknown BIRDUnreachable: connect to BIRD\nAnnounced=Unknown BIRDUnreachable: connect to BIRD\nReady=False BIRDUnreachable: Established: connect to BIRD"},
		{"an extension is away", with(func(s *Seen) { s.Report.Speaker = status.Speaker{Name: "gobgp", Error: "it is not up"} }), poolsReady,
			"Established=Unknown SpeakerUnreachable: it is not up\nAnnounced=Unknown SpeakerUnreachable: it is not up\nReady=False SpeakerUnreachable: Established: it is not up"},
		{"a pool whose addresses are announced one by one", with(func(s *Seen) { s.Config.Summaries, s.Report.Summaries = nil, nil }), poolsReady,
			allUp + "Announced=True SummariesAnnounced: 0 of 0 pools\nReady=True EverythingTrue: the node is well"},
		{"another speaker", with(func(s *Seen) {
			s.Foreign, s.Report.Sessions, s.Report.Speaker.Error, s.Report.Summaries[0].SentTo = true, nil, "connect to BIRD", nil
		}), poolsReady,
			"Established=Unknown BIRDUnreachable: connect to BIRD\nAnnounced=True SummariesAnnounced: 1 of 1 pools\nReady=False BIRDUnreachable: Established: connect to BIRD"},
		{"nothing seen", Seen{}, poolsReady,
			"Established=Unknown NotYetKnown: birdd has just started\nAnnounced=Unknown NotYetKnown: birdd has just started\nReady=False NotYetKnown: Established: birdd has just started"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, picture(Conditions(test.seen, test.pools))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReachable(t *testing.T) {
	for _, test := range []struct {
		name string
		seen Seen
		want bool
		text string
	}{
		{"well", well(), true, "1 of 1 pools"},
		{"to one of two peers", with(func(s *Seen) { s.Report.Summaries[0].SentTo = []string{"peer_tor_a"} }), true, "1 of 1 pools"},
		{"to nobody", with(func(s *Seen) { s.Report.Summaries[0].SentTo = nil }), false, "2001:db8:1::/64 was sent to no peer"},
		{"no summary", with(func(s *Seen) { s.Report.Summaries = nil }), false, "2001:db8:1::/64 is not in the announcement table"},
		{"BIRD is away", with(func(s *Seen) { s.Report.Speaker.Error = "connect to BIRD" }), false, "connect to BIRD"},
		{"no BGP", with(func(s *Seen) { s.Config.BGP, s.Report.Summaries = nil, nil }), true, "the NodeConfig has no BGP"},
		{"an invalid NodeConfig changes nothing", with(func(s *Seen) { s.ConfigErr = errInvalid }), true, "1 of 1 pools"},
		{"another speaker", with(func(s *Seen) { s.Foreign, s.Report.Speaker.Error, s.Report.Summaries[0].SentTo = true, "away", nil }), true, "1 of 1 pools"},
	} {
		if got, text := Reachable(test.seen); got != test.want || text != test.text {
			t.Errorf("%s: Reachable() = %v, %q, want %v, %q", test.name, got, text, test.want, test.text)
		}
	}
}

func TestPeers(t *testing.T) {
	since := func(second int) *metav1.Time { return &metav1.Time{Time: at(second)} }
	s := with(func(s *Seen) {
		s.Config.BGP.Peers = append(s.Config.BGP.Peers, v1alpha1.PeerConfig{Name: "tor-c", Interface: "eth0"}, v1alpha1.PeerConfig{Name: "tor-d"}, v1alpha1.PeerConfig{Name: "tor-e"})
		s.LeftOut = map[string]string{"tor-d": "left out: no Secret"}
		s.Report.Sessions[1].State, s.Report.Sessions[1].Since = "Active", time.Time{}
		s.Report.Sessions = append(s.Report.Sessions,
			status.Session{Peer: "tor-c", Name: "dyn_tor_c_1", State: "Idle", LastError: "Bad peer AS"},
			status.Session{Peer: "tor-c", Name: "dyn_tor_c_2", State: "Established", Since: at(58), Received: 3, Exported: 4},
			status.Session{Peer: "gone", State: "Established"})
	})
	want := []v1alpha1.PeerStatus{
		{Name: "tor-b", State: "Active", PrefixesReceived: 1, PrefixesExported: 2},
		{Name: "tor-a", State: "Established", Since: since(56), PrefixesReceived: 1, PrefixesExported: 2},
		{Name: "tor-c", State: "Established", Since: since(58), PrefixesReceived: 3, PrefixesExported: 4},
		{Name: "tor-d", State: "Absent", LastError: "left out: no Secret"},
		{Name: "tor-e", State: "Absent", LastError: "the speaker has not loaded it"},
	}
	if diff := cmp.Diff(want, Peers(s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Report.Speaker.Error = "connect to BIRD"
	if got := Peers(s); got != nil {
		t.Errorf("without BIRD: %+v", got)
	}
}
