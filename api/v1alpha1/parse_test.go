// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		LocalASN: 64512, RouterID: netip.MustParseAddr("10.0.0.1"),
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

// spoilt are NodeConfigs with one thing wrong: what to spoil and how the one error begins and ends.
var spoilt = []struct {
	name  string
	spoil func(*NodeConfig)
	want  string
}{
	{"no name", func(c *NodeConfig) { c.Name = ""; c.Spec.BGP = nil }, "metadata.name: Required value: name the NodeConfig as its node"},
	{"mtu", func(c *NodeConfig) { c.Spec.MTU = 1279 }, "spec.mtu: Invalid value: 1279: use 1280 to 65535"},
	{"summaryRoute", func(c *NodeConfig) { c.Spec.SummaryRoute = "prohibit" }, `spec.summaryRoute: Unsupported value: "prohibit": supported values: "blackhole", "unreachable"`},
	{"pool without name", func(c *NodeConfig) { c.Spec.Pools[0].Name = "" }, "spec.pools[0].name: Required value"},
	{"pool name", func(c *NodeConfig) { c.Spec.Pools[0].Name = "a;b" }, "spec.pools[0]: Invalid value"},
	{"pool host bits", func(c *NodeConfig) { c.Spec.Pools[1].CIDR = "192.0.2.1/26" }, "spec.pools[1]: Invalid value"},
	{"pool 4in6", func(c *NodeConfig) { c.Spec.Pools[0].CIDR = "::ffff:10.0.0.0/104" }, "spec.pools[0]: Invalid value"},
	{"pool gateway", func(c *NodeConfig) { c.Spec.Pools[1].Gateway = "198.51.100.1" }, "spec.pools[1]: Invalid value"},
	{"pools overlap", func(c *NodeConfig) { c.Spec.Pools[0].CIDR = "192.0.2.0/24" }, "spec.pools: Invalid value"},
	{"ipAlgo", func(c *NodeConfig) { c.Spec.Defaults.IPAlgo = []IPAlgoField{"node"} }, "spec.defaults.ipAlgo[0]: Unsupported value"},
	{"ipAlgo twice", func(c *NodeConfig) { c.Spec.Defaults.IPAlgo = []IPAlgoField{"pod", "pod"} }, "spec.defaults.ipAlgo[1]: Duplicate value"},
	{"coolDown", func(c *NodeConfig) { c.Spec.Defaults.CoolDown = &metav1.Duration{Duration: -1} }, "spec.defaults.coolDown: Invalid value"},
	{"localASN 0", func(c *NodeConfig) { c.Spec.BGP.LocalASN = 0 }, "spec.bgp.localASN: Invalid value: 0: is no usable AS number"},
	{"localASN too large", func(c *NodeConfig) { c.Spec.BGP.LocalASN = 1 << 32 }, "spec.bgp.localASN: Invalid value"},
	{"routerID IPv6", func(c *NodeConfig) { c.Spec.BGP.RouterID = "2001:db8::1" }, "spec.bgp.routerID: Invalid value"},
	{"routerID 0", func(c *NodeConfig) { c.Spec.BGP.RouterID = "0.0.0.0" }, "spec.bgp.routerID: Invalid value"},
	{"routerID hostile", func(c *NodeConfig) { c.Spec.BGP.RouterID = "1.2.3.4; log syslog all" }, "spec.bgp.routerID: Invalid value"},
	{"exportAccept", func(c *NodeConfig) { c.Spec.BGP.ExportAccept = []string{"10.0.0.1/8"} }, "spec.bgp.exportAccept[0]: Invalid value"},
	{"peers of one name", func(c *NodeConfig) { c.Spec.BGP.Peers[1].Name = "tor-a" }, "spec.bgp.peers[1].name: Duplicate value"},
	{"peers of one address", func(c *NodeConfig) {
		c.Spec.BGP.Peers[1] = Peer{Name: "x", Address: "2001:db8:0::a", PeerASN: 1}
	}, "spec.bgp.peers[1]: Invalid value"},
	{"peers of one interface", func(c *NodeConfig) {
		c.Spec.BGP.Peers[0] = Peer{Name: "x", Interface: "eth1", PeerASN: 1}
	}, "spec.bgp.peers[1]: Invalid value"},
	{"two unnumbered peers and a password", func(c *NodeConfig) {
		c.Spec.BGP.Peers[0] = Peer{Name: "x", Interface: "eth0", PeerASN: 1}
		c.Spec.BGP.Peers[1].PasswordSecretRef = &SecretKeyRef{Name: "bgp"}
	}, "spec.bgp.peers[1].passwordSecretRef: Invalid value"},
	{"one link-local address twice and a password", func(c *NodeConfig) {
		ref := &SecretKeyRef{Name: "bgp"}
		c.Spec.BGP.Peers[0] = Peer{Name: "x", Address: "fe80::1", Interface: "eth0", PeerASN: 1, PasswordSecretRef: ref}
		c.Spec.BGP.Peers[1] = Peer{Name: "y", Address: "fe80::1", Interface: "eth1", PeerASN: 1}
	}, "spec.bgp.peers[0].passwordSecretRef: Invalid value"},
}

// spoiltPeers are what can be wrong with one peer; the error is on a field of spec.bgp.peers[0].
var spoiltPeers = []struct {
	name  string
	spoil func(*Peer)
	want  string
}{
	{"no end", func(p *Peer) { p.Address = "" }, "address: Required value: write the peer's address, or for an unnumbered session its interface"},
	{"no name", func(p *Peer) { p.Name = "" }, "name: Invalid value"},
	{"name with quote", func(p *Peer) { p.Name = `a"b` }, "name: Invalid value"},
	{"name with brace", func(p *Peer) { p.Name = "a{b}" }, "name: Invalid value"},
	{"name with newline", func(p *Peer) { p.Name = "a\nb" }, "name: Invalid value"},
	{"name ends in newline", func(p *Peer) { p.Name = "a\n" }, "name: Invalid value"},
	{"name with semicolon", func(p *Peer) { p.Name = "a;b" }, "name: Invalid value"},
	{"name with underscore", func(p *Peer) { p.Name = "a_b" }, "name: Invalid value"},
	{"name too long", func(p *Peer) { p.Name = strings.Repeat("a", 41) }, "name: Invalid value"},
	{"address hostile", func(p *Peer) { p.Address = "2001:db8::1; }" }, "address: Invalid value"},
	{"address with zone", func(p *Peer) { p.Address = "fe80::1%eth0" }, "address: Invalid value"},
	{"address 4in6", func(p *Peer) { p.Address = "::ffff:192.0.2.1" }, "address: Invalid value"},
	{"address multicast", func(p *Peer) { p.Address = "ff02::1" }, "address: Invalid value"},
	{"address unspecified", func(p *Peer) { p.Address = "::" }, "address: Invalid value"},
	{"address a CIDR", func(p *Peer) { p.Address = "2001:db8::a/64" }, "address: Invalid value"},
	{"link-local alone", func(p *Peer) { p.Address = "fe80::1" }, "interface: Required value"},
	{"link-local multihop", func(p *Peer) { p.Address, p.LocalAddress, p.Interface = "fe80::1", "fe80::2", "eth0" }, "address: Invalid value"},
	{"interface hostile", func(p *Peer) { p.Interface = `eth0"; }` }, "interface: Invalid value"},
	{"interface too long", func(p *Peer) { p.Interface = "abcdefghijklmnop" }, "interface: Invalid value"},
	{"interface multihop", func(p *Peer) { p.Interface, p.Multihop = "eth0", 2 }, "interface: Invalid value"},
	{"unnumbered localAddress", func(p *Peer) { p.Address, p.Interface, p.LocalAddress = "", "eth0", "2001:db8::1" }, "interface: Invalid value"},
	{"localAddress", func(p *Peer) { p.LocalAddress = "2001:db8::x" }, "localAddress: Invalid value"},
	{"localAddress of the other family", func(p *Peer) { p.LocalAddress = "192.0.2.1" }, "localAddress: Invalid value"},
	{"peerASN", func(p *Peer) { p.PeerASN = 23456 }, "peerASN: Invalid value"},
	{"no family", func(p *Peer) { p.Families = []Family{} }, "families: Required value"},
	{"family", func(p *Peer) { p.Families = []Family{"ipx"} }, "families[0]: Unsupported value"},
	{"family twice", func(p *Peer) { p.Families = []Family{"ipv6", "ipv6"} }, "families[1]: Duplicate value"},
	{"IPv6 over IPv4", func(p *Peer) { p.Address, p.Families = "192.0.2.1", []Family{"ipv4", "ipv6"} }, "families: Invalid value"},
	{"secret name", func(p *Peer) { p.PasswordSecretRef = &SecretKeyRef{Name: "../etc"} }, "passwordSecretRef.name: Invalid value"},
	{"secret key", func(p *Peer) { p.PasswordSecretRef = &SecretKeyRef{Name: "a", Key: ".."} }, "passwordSecretRef.key: Invalid value"},
	{"secret key with slash", func(p *Peer) { p.PasswordSecretRef = &SecretKeyRef{Name: "a", Key: "b/c"} }, "passwordSecretRef.key: Invalid value"},
	{"bfd on, as YAML reads it", func(p *Peer) { p.BFD = "true" }, "bfd: Unsupported value"},
	{"bfd and graceful restart", func(p *Peer) { p.BFD, p.GracefulRestart = BFDImmediate, new(true) }, "bfd: Invalid value"},
	{"bfd multihop", func(p *Peer) { p.BFD, p.Multihop = BFDGraceful, 2 }, "localAddress: Required value"},
	{"hold time under 3", func(p *Peer) { p.HoldTime = seconds(2); p.KeepaliveTime = nil }, "holdTime: Invalid value"},
	{"hold time 0", func(p *Peer) { p.HoldTime, p.KeepaliveTime = seconds(0), seconds(1) }, "holdTime: Invalid value"},
	{"hold time of half seconds", func(p *Peer) { p.HoldTime = &metav1.Duration{Duration: 3500 * time.Millisecond} }, "holdTime: Invalid value"},
	{"hold time too long", func(p *Peer) { p.HoldTime = seconds(65536) }, "holdTime: Invalid value"},
	{"keepalive too long", func(p *Peer) { p.HoldTime, p.KeepaliveTime = seconds(9), seconds(4) }, "keepaliveTime: Invalid value"},
	{"multihop 1", func(p *Peer) { p.Multihop = 1 }, "multihop: Invalid value"},
	{"multihop 256", func(p *Peer) { p.Multihop = 256 }, "multihop: Invalid value"},
	{"community", func(p *Peer) { p.Communities = []string{"65536:1"} }, "communities[0]: Invalid value"},
	{"community hostile", func(p *Peer) { p.Communities = []string{"1:1)); accept; #"} }, "communities[0]: Invalid value"},
	{"community of four", func(p *Peer) { p.Communities = []string{"1:2:3:4"} }, "communities[0]: Invalid value"},
	{"localPref external", func(p *Peer) { p.LocalPref = new(int64(1)) }, "localPref: Invalid value"},
	{"med", func(p *Peer) { p.MED = new(int64(-1)) }, "med: Invalid value"},
	{"importAccept", func(p *Peer) { p.ImportAccept = []PrefixRange{{CIDR: "::/0{0,128}"}} }, "importAccept[0].cidr: Invalid value"},
	{"importAccept maxLength", func(p *Peer) { p.ImportAccept = []PrefixRange{{CIDR: "10.0.0.0/8", MaxLength: 33}} }, "importAccept[0].maxLength: Invalid value"},
	{"importAccept maxLength short", func(p *Peer) { p.ImportAccept = []PrefixRange{{CIDR: "10.0.0.0/8", MaxLength: 7}} }, "importAccept[0].maxLength: Invalid value"},
	{"maxPrefixes", func(p *Peer) { p.MaxPrefixes = -1 }, "maxPrefixes: Invalid value"},
}

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}

func TestValidateNamesTheField(t *testing.T) {
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
	for _, err := range c.Validate() {
		if strings.HasPrefix(err.Error(), want) {
			return
		}
	}
	t.Errorf("Validate() = %v, want an error that begins %q", c.Validate().ToAggregate(), want)
}

func TestValidateReportsEverything(t *testing.T) {
	c := valid()
	c.Spec.MTU = 1
	c.Spec.Pools[0].CIDR = "x"
	c.Spec.Pools[1].CIDR = "y"
	c.Spec.BGP.LocalASN = 0
	c.Spec.BGP.Peers[0].Address = "z"
	c.Spec.BGP.Peers[1].Multihop = 1000
	if errs := c.Validate(); len(errs) < 6 {
		t.Errorf("Validate() = %v, want at least 6 errors", errs)
	}
}

func TestValidateAcceptsKeywordsAsNames(t *testing.T) {
	for _, name := range []string{"protocol", "filter", "bgp", "include", "0", "a-b"} {
		c := valid()
		c.Spec.BGP.Peers[0].Name = name
		if errs := c.Validate(); errs != nil {
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
