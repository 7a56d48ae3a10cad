// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"flock.fritzlab.net/flock/internal/pool"
)

// valid returns a NodeConfig that Parse accepts, for tests to spoil.
func valid() *NodeConfig {
	return &NodeConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1"},
		Spec: NodeConfigSpec{
			Pools: []Pool{{Name: "default6", CIDR: "2001:db8:1::/64"}, {Name: "default4", CIDR: "192.0.2.0/26"}},
			BGP: &BGP{LocalASN: 64512, Peers: []Peer{
				{Name: "tor-a", Address: "2001:db8::a", PeerASN: 64500},
				{Name: "tor-b", Interface: "eth1", PeerASN: 64500},
			}},
		},
	}
}

// problems returns what is wrong with the NodeConfig.
func problems(c *NodeConfig) field.ErrorList {
	_, errs := c.Parse()
	return errs
}

func TestDefault(t *testing.T) {
	c := valid()
	c.Spec.BGP.Peers[0].PasswordSecretRef = &SecretKeyRef{Name: "bgp"}
	written := c.Spec.BGP
	c.Default()
	yes := true
	want := []Peer{
		{Name: "tor-a", Address: "2001:db8::a", PeerASN: 64500, Families: []Family{FamilyIPv6},
			PasswordSecretRef: &SecretKeyRef{Name: "bgp", Key: "password"}},
		{Name: "tor-b", Interface: "eth1", PeerASN: 64500, Families: []Family{FamilyIPv4, FamilyIPv6}},
	}
	for i := range want {
		want[i].HoldTime = &metav1.Duration{Duration: 90 * time.Second}
		want[i].KeepaliveTime = &metav1.Duration{Duration: 30 * time.Second}
		want[i].GracefulRestart = &yes
		want[i].ImportAccept = []PrefixRange{{CIDR: "::/0"}, {CIDR: "0.0.0.0/0"}}
		want[i].MaxPrefixes = 1000
	}
	if diff := cmp.Diff(want, c.Spec.BGP.Peers); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
	if c.Spec.BGP.RouterID != "85.196.51.131" || c.Spec.SummaryRoute != SummaryBlackhole || c.Spec.Defaults.CoolDown.Duration != 2*time.Minute {
		t.Errorf("routerID %s, summaryRoute %s, coolDown %s", c.Spec.BGP.RouterID, c.Spec.SummaryRoute, c.Spec.Defaults.CoolDown.Duration)
	}
	if written.RouterID != "" || written.Peers[0].PasswordSecretRef.Key != "" {
		t.Error("Default changed what the NodeConfig points to")
	}
	again := *c
	again.Default()
	if diff := cmp.Diff(c, &again); diff != "" {
		t.Errorf("a second Default changed (-first +second):\n%s", diff)
	}
}

func TestParseTypes(t *testing.T) {
	c := valid()
	pref, med := int64(200), int64(0)
	c.Spec.BGP.RouterID = "10.0.0.1"
	c.Spec.BGP.ExportAccept = []string{"2001:db8:f::/48"}
	c.Spec.BGP.Peers = []Peer{{
		Name: "rr", Address: "192.0.2.1", LocalAddress: "192.0.2.9", PeerASN: 64512, Multihop: 3, BFD: BFDImmediate,
		HoldTime: &metav1.Duration{Duration: 9 * time.Second}, Communities: []string{"64512:7", "4200000000:1:2"},
		LocalPref: &pref, MED: &med, MaxPrefixes: 5,
		ImportAccept: []PrefixRange{{CIDR: "0.0.0.0/0"}, {CIDR: "10.0.0.0/8", MaxLength: 24}},
	}}
	got, errs := c.Parse()
	if errs != nil {
		t.Fatal(errs.ToAggregate())
	}
	localPref, zero := uint32(200), uint32(0)
	want := &BGPConfig{
		Speaker: SpeakerBIRD, LocalASN: 64512, RouterID: netip.MustParseAddr("10.0.0.1"),
		ExportAccept: []netip.Prefix{netip.MustParsePrefix("2001:db8:f::/48")},
		Peers: []PeerConfig{{
			Name: "rr", Address: netip.MustParseAddr("192.0.2.1"), LocalAddress: netip.MustParseAddr("192.0.2.9"), ASN: 64512,
			IPv4: true, BFD: BFDImmediate, HoldTime: 9 * time.Second, KeepaliveTime: 3 * time.Second, Multihop: 3,
			Communities: []Community{{64512, 7}}, LargeCommunities: []LargeCommunity{{4200000000, 1, 2}},
			LocalPref: &localPref, MED: &zero, MaxPrefixes: 5,
			ImportAccept: []PrefixMatch{{netip.MustParsePrefix("0.0.0.0/0"), 0}, {netip.MustParsePrefix("10.0.0.0/8"), 24}},
		}},
	}
	if diff := cmp.Diff(want, got.BGP, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if prefix, _ := pool.ParsePrefix("2001:db8:1::/64"); got.Pools[0].Prefix != prefix || got.Name != "node-1" {
		t.Errorf("name %s, pools %v", got.Name, got.Pools)
	}
}

func TestParseAnnounce(t *testing.T) {
	c := valid()
	c.Spec.Pools[0].Announce, c.Spec.Pools[0].Allocator = AnnounceAddresses, "sticky"
	c.Spec.BGP.ExportAccept = []string{}
	got, errs := c.Parse()
	if errs != nil {
		t.Fatal(errs.ToAggregate())
	}
	shared, whole := netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParsePrefix("192.0.2.0/26")
	if !slices.Equal(got.Summaries, []netip.Prefix{whole}) || !slices.Equal(got.BGP.ExportAccept, []netip.Prefix{shared}) {
		t.Errorf("summaries %v, addresses of %v", got.Summaries, got.BGP.ExportAccept)
	}
	if c.Spec.Pools[1].Announce != "" {
		t.Error("Parse changed the NodeConfig")
	}
}

func TestParseNamesTheField(t *testing.T) {
	for _, test := range spoilt {
		t.Run(test.name, func(t *testing.T) { testSpoilt(t, test.spoil, test.want) })
	}
	for _, test := range spoiltPeers {
		t.Run("peer "+test.name, func(t *testing.T) {
			testSpoilt(t, func(c *NodeConfig) { test.spoil(&c.Spec.BGP.Peers[0]) }, "spec.bgp.peers[0]."+test.want)
		})
	}
}

func testSpoilt(t *testing.T, spoil func(*NodeConfig), want string) {
	t.Helper()
	c := valid()
	spoil(c)
	for _, err := range problems(c) {
		if strings.HasPrefix(err.Error(), want) {
			return
		}
	}
	t.Errorf("Parse() = %v, want an error that begins %q", problems(c).ToAggregate(), want)
}

func TestParseReportsEverything(t *testing.T) {
	c := valid()
	c.Spec.MTU = 1
	c.Spec.Pools[0].CIDR = "x"
	c.Spec.Pools[1].CIDR = "y"
	c.Spec.BGP.LocalASN = 0
	c.Spec.BGP.Peers[0].Address = "z"
	c.Spec.BGP.Peers[1].Multihop = 1000
	if errs := problems(c); len(errs) < 6 {
		t.Errorf("Parse() = %v, want at least 6 errors", errs)
	}
}

func TestParseAcceptsKeywordsAsNames(t *testing.T) {
	for _, name := range []string{"protocol", "filter", "bgp", "include", "0", "a-b"} {
		c := valid()
		c.Spec.BGP.Peers[0].Name = name
		if errs := problems(c); errs != nil {
			t.Errorf("peer %q: %v", name, errs)
		}
	}
}

func TestProtocolNames(t *testing.T) {
	for _, test := range []struct{ protocol, peer string }{
		{ProtocolName("tor-a"), "tor-a"},
		{DynamicName("tor") + "12", "tor"},
		{DynamicName("tor-1") + "1", "tor-1"},
		{"kernel1", ""}, {"peer_", ""}, {"dyn_1", ""}, {"dyn_", ""},
	} {
		if got, ok := PeerName(test.protocol); ok != (test.peer != "") || ok && got != test.peer {
			t.Errorf("PeerName(%q) = %q, %v, want %q", test.protocol, got, ok, test.peer)
		}
	}
}
