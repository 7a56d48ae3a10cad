// SPDX-License-Identifier: Apache-2.0

package birdctl

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestReadReply(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []Line
		err        error
	}{
		{"one line", "0013 Daemon is up\n", []Line{{13, "Daemon is up"}}, nil},
		{"empty last line", "0000 \n", []Line{{0, ""}}, nil},
		{"continued", "1000-BIRD\n1011-Router\n  Hostname\n0013 up\n", []Line{{1000, "BIRD"}, {1011, "Router"}, {1011, " Hostname"}, {13, "up"}}, nil},
		{"news between", "1002-a\n+peer_a: Connected\n0000 \n", []Line{{1002, "a"}, {0, ""}}, nil},
		{"rest stays", "0000 \n0001 more", []Line{{0, ""}}, nil},
		{"ends early", "1002-a\n", nil, io.EOF},
		{"ends within a line", "1002-a", nil, io.EOF},
		{"empty line", "\n", nil, errMalformed},
		{"continuation of nothing", " a\n", nil, errMalformed},
		{"no digits", "00x3 a\n", nil, errMalformed},
		{"signed", "+013 a\n-013 a\n", nil, errMalformed},
		{"short", "0013\n", nil, errMalformed},
		{"no separator", "00130\n", nil, errMalformed},
		{"endless line", strings.Repeat("a", maxReply+1), nil, errMalformed},
		{"endless reply", "1002-a\n" + strings.Repeat(" \n", maxReply/2), nil, errMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readReply(bufio.NewReader(strings.NewReader(test.text)))
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got.Lines); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// showProtocols is what BIRD 2.0.12 wrote, cut to one of each kind.
const showProtocols = `2002-Name       Proto      Table      State  Since         Info
1002-announce4  Kernel     announce4  up     2026-11-23 14:31:55  
1006-  Channel ipv4
     State:          UP
     Routes:         7 imported, 0 exported, 0 preferred
 
1002-to_main4   Pipe       ---        up     14:31:55.123  announce4 <=> master4
1006-
1002-peer_a     BGP        ---        up     2026-11-23 14:31:56  Established   
1006-  BGP state:          Established
     Neighbor address: 2001:db8:a::2
     Neighbor AS:      4200000001
     Local AS:         65001
     Local capabilities
       Graceful restart
         Restart time: 120
   Channel ipv6
     State:          UP
     Table:          announce6
     Routes:         2 imported, 1 filtered, 3 exported, 1 preferred
     Route change stats:     received   rejected   filtered    ignored   accepted
       Import updates:              6          2          4        ---          0
     BGP Next hop:   2001:db8:a::1 fe80::a490:20ff:fe45:1652
   Channel ipv4
     State:          UP
     Routes:         1 imported, 4 exported, 2 preferred
 
1002-a_name_longer_than_the_column BGP        ---        start  14:33:10.034  Active        Socket: Connection refused
1006-  BGP state:          Active
     Neighbor address: fe80::1%eth0
     Neighbor AS:      65000
   Channel ipv6
     State:          DOWN
 
1002-peer_un    BGP        ---        start  2026-11-23    Passive       
1006-  BGP state:          Passive
     Neighbor range:   fe80::/10
     Neighbor AS:      65000
 
1002-peer_off   BGP        ---        down   14:33:10.034  BGP Error: Bad peer AS
1006-
0000 
`

func TestParseProtocols(t *testing.T) {
	reply, err := readReply(bufio.NewReader(strings.NewReader(showProtocols)))
	if err != nil {
		t.Fatal(err)
	}
	want := []Protocol{
		{Name: "announce4", Type: "Kernel", Table: "announce4", State: "up", Since: "2026-11-23 14:31:55",
			Channels: []Channel{{"ipv4", "UP", 7, 0}}},
		{Name: "to_main4", Type: "Pipe", Table: "---", State: "up", Since: "14:31:55.123", Info: "announce4 <=> master4"},
		{Name: "peer_a", Type: "BGP", Table: "---", State: "up", Since: "2026-11-23 14:31:56", Info: "Established",
			BGPState: "Established", Neighbor: netip.MustParseAddr("2001:db8:a::2"), NeighborASN: 4200000001,
			Channels: []Channel{{"ipv6", "UP", 2, 3}, {"ipv4", "UP", 1, 4}}},
		{Name: "a_name_longer_than_the_column", Type: "BGP", Table: "---", State: "start", Since: "14:33:10.034",
			Info: "Active        Socket: Connection refused", BGPState: "Active", LastError: "Socket: Connection refused",
			Neighbor: netip.MustParseAddr("fe80::1%eth0"), NeighborASN: 65000, Channels: []Channel{{"ipv6", "DOWN", 0, 0}}},
		{Name: "peer_un", Type: "BGP", Table: "---", State: "start", Since: "2026-11-23", Info: "Passive", BGPState: "Passive", NeighborASN: 65000},
		{Name: "peer_off", Type: "BGP", Table: "---", State: "down", Since: "14:33:10.034", Info: "BGP Error: Bad peer AS", LastError: "BGP Error: Bad peer AS"},
	}
	got := parseProtocols(reply)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p := got[2]; !p.Established() || p.Imported() != 3 || p.Exported() != 7 {
		t.Errorf("%s: established %v, imported %d, exported %d", p.Name, p.Established(), p.Imported(), p.Exported())
	}
	if at, ok := got[2].SinceTime(); !ok || at.Format("15:04:05") != "14:31:56" {
		t.Errorf("SinceTime() = %v, %v", at, ok)
	}
	if _, ok := got[3].SinceTime(); ok {
		t.Error("SinceTime took a time without a date")
	}
}

// FuzzReadReply feeds any text as replies: each one read has lines and ends, and its protocols can be
// read, whatever they say.
func FuzzReadReply(f *testing.F) {
	f.Add(showProtocols)
	f.Add("0001 BIRD 2.0.12 ready.\n8001 Network not found\n")
	f.Add("1006-  Channel ipv6\n     Routes: x imported,\n+\n9001 syntax error\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := bufio.NewReader(strings.NewReader(text))
		for {
			reply, err := readReply(r)
			if err != nil {
				return
			}
			if code := reply.Code(); len(reply.Lines) == 0 || code < 0 || code > 9999 {
				t.Fatalf("reply %+v", reply)
			}
			for _, p := range parseProtocols(reply) {
				if p.Name == "" {
					t.Errorf("protocol without a name: %+v", p)
				}
			}
		}
	})
}
