// SPDX-License-Identifier: Apache-2.0

package status

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"flock.fritzlab.net/flock/internal/health"
)

func at(second int) time.Time { return time.Date(2026, 11, 23, 14, 31, second, 0, time.Local) }

func report() *Report {
	return &Report{
		Speaker: Speaker{Name: "bird", Version: "BIRD 2.0.12", RouterID: netip.MustParseAddr("10.0.0.1")},
		Sessions: []Session{
			{Peer: "tor-a", Name: "peer_tor_a", Address: netip.MustParseAddr("2001:db8::a"), ASN: 64500, State: "Established",
				Since: at(56), Received: 1, Exported: 2},
			{Peer: "tor-b", Name: "dyn_tor_b_1", Address: netip.MustParseAddr("fe80::b%eth1"), ASN: 64500, State: "Active",
				Since: at(55), LastError: "Socket: Connection refused"},
			{Peer: "tor-c", Name: "peer_tor_c", ASN: 64500, State: "Active"},
		},
		Summaries: []Summary{
			{Prefix: netip.MustParsePrefix("192.0.2.0/26"), Main: "unreachable", Announced: false, SentTo: []string{}},
			{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Announced: true, SentTo: []string{"peer_tor_a", "dyn_tor_b_1"}},
		},
		Addresses: []Address{
			{Address: netip.MustParseAddr("2001:db8:f::7"), Anycast: true, Announced: true, Links: []string{"flock0a1b2c3d", "flock4e5f6071"}, Pods: []string{"web/a", "web/b"}},
			{Address: netip.MustParseAddr("2001:db8:f::8"), Announced: true, Links: []string{"flock0a1b2c3d"}},
			{Address: netip.MustParseAddr("2001:db8:f::9"), Anycast: true, Links: []string{}, Pods: []string{"web/c"}},
		},
		Problems: []health.Problem{{Area: "peer tor-d", Text: "left out", Since: time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)}},
	}
}

func TestWriteTable(t *testing.T) {
	const want = `BIRD 2.0.12, router ID 10.0.0.1

PEER   ADDRESS       AS     STATE        SINCE                RECEIVED  EXPORTED  LAST ERROR
tor-a  2001:db8::a   64500  Established  2026-11-23 14:31:56  1         2         -
tor-b  fe80::b%eth1  64500  Active       2026-11-23 14:31:55  0         0         Socket: Connection refused
tor-c  -             64500  Active       -                    0         0         -

SUMMARY          MAIN TABLE   ANNOUNCED  SENT TO
192.0.2.0/26     unreachable  no         nobody
2001:db8:1::/64  missing      yes        peer_tor_a, dyn_tor_b_1

ADDRESS        KIND     ANNOUNCED  LINKS                         PODS
2001:db8:f::7  anycast  yes        flock0a1b2c3d, flock4e5f6071  web/a, web/b
2001:db8:f::8  unicast  yes        flock0a1b2c3d                 -
2001:db8:f::9  anycast  no         -                             web/c

PROBLEM     SINCE                 TEXT
peer tor-d  2026-11-23 14:00:00Z  left out
`
	var got strings.Builder
	if err := report().WriteTable(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWriteTableWithoutBIRD(t *testing.T) {
	r := &Report{Speaker: Speaker{Name: "bird", Error: "connect: no such file"}}
	var got strings.Builder
	if err := r.WriteTable(&got); err != nil || !strings.HasPrefix(got.String(), "BIRD does not answer: connect: no such file\n") {
		t.Errorf("%v\n%s", err, got.String())
	}
}

func TestWriteJSON(t *testing.T) {
	var text strings.Builder
	if err := report().WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	got := new(Report)
	if err := json.Unmarshal([]byte(text.String()), got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report(), got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
