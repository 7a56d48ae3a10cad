// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// spoilt are NodeConfigs with one thing wrong: what to spoil, how one of Parse's errors begins, and
// what is in the API server's answer; empty where only flock itself finds it.
var spoilt = []struct {
	name      string
	spoil     func(*NodeConfig)
	want, api string
}{
	{"no name", func(c *NodeConfig) { c.Name = ""; c.Spec.BGP = nil }, "metadata.name: Required value: name the NodeConfig as its node",
		"metadata.name: Required value"},
	{"mtu", func(c *NodeConfig) { c.Spec.MTU = 1279 }, "spec.mtu: Invalid value: 1279: use 1280 to 65535",
		"spec.mtu: Invalid value: 1279: spec.mtu in body should be greater than or equal"},
	{"summaryRoute", func(c *NodeConfig) { c.Spec.SummaryRoute = "prohibit" }, `spec.summaryRoute: Unsupported value: "prohibit": supported values: "blackhole", "unreachable"`,
		`spec.summaryRoute: Unsupported value: "prohibit": supported values: "blackhole", "unreachable"`},
	{"pool without name", func(c *NodeConfig) { c.Spec.Pools[0].Name = "" }, "spec.pools[0].name: Required value",
		`spec.pools[0].name: Invalid value: "": use at most 63 of the letters a-z and A-Z, digits`},
	{"pool name", func(c *NodeConfig) { c.Spec.Pools[0].Name = "a;b" }, "spec.pools[0]: Invalid value",
		`spec.pools[0].name: Invalid value: "a;b": use at most 63 of the letters a-z and A-Z, digits`},
	{"pool host bits", func(c *NodeConfig) { c.Spec.Pools[1].CIDR = "192.0.2.1/26" }, "spec.pools[1]: Invalid value",
		`spec.pools[1].cidr: Invalid value: "192.0.2.1/26": has host bits set: write the network's own address,`},
	{"pool 4in6", func(c *NodeConfig) { c.Spec.Pools[0].CIDR = "::ffff:10.0.0.0/104" }, "spec.pools[0]: Invalid value",
		`spec.pools[0].cidr: Invalid value: "::ffff:10.0.0.0/104": write a CIDR such as 2001:db8:1::/64 or 192.0.2.0/24`},
	{"pool gateway", func(c *NodeConfig) { c.Spec.Pools[1].Gateway = "198.51.100.1" }, "spec.pools[1]: Invalid value",
		"spec.pools[1].gateway: Invalid value: is outside the pool's CIDR: use an address of"},
	{"pool link-local", func(c *NodeConfig) { c.Spec.Pools[0].CIDR = "fe80::/64" }, "spec.pools[0]: Invalid value",
		"holds addresses that no pod can have: use global unicast"},
	{"pool of everything", func(c *NodeConfig) { c.Spec.Pools[1].CIDR = "0.0.0.0/0" }, "spec.pools[1]: Invalid value",
		"holds addresses that no pod can have: use global unicast"},
	{"pool gateway no address", func(c *NodeConfig) { c.Spec.Pools[1].Gateway = "192.0.2.1/26" }, "spec.pools[1]: Invalid value",
		`spec.pools[1].gateway: Invalid value: "192.0.2.1/26": write an address`},
	{"pool gateway the network", func(c *NodeConfig) { c.Spec.Pools[1].Gateway = "192.0.2.0" }, "spec.pools[1]: Invalid value",
		"spec.pools[1].gateway: Invalid value: is the network's own address: use another"},
	{"pool gateway broadcast", func(c *NodeConfig) { c.Spec.Pools[1].Gateway = "192.0.2.63" }, "spec.pools[1]: Invalid value", ""},
	{"pool reserved outside", func(c *NodeConfig) { c.Spec.Pools[1].Reserved = []string{"192.0.2.9", "192.0.2.60-192.0.2.64"} }, "spec.pools[1]: Invalid value",
		"spec.pools[1].reserved: Invalid value: lies outside the pool's CIDR"},
	{"pool reserved CIDR outside", func(c *NodeConfig) { c.Spec.Pools[1].Reserved = []string{"192.0.2.0/25"} }, "spec.pools[1]: Invalid value",
		"spec.pools[1].reserved: Invalid value: lies outside the pool's CIDR"},
	{"pool reserved host bits", func(c *NodeConfig) { c.Spec.Pools[1].Reserved = []string{"192.0.2.1/30"} }, "spec.pools[1]: Invalid value",
		`spec.pools[1].reserved[0]: Invalid value: "192.0.2.1/30": write an address, a CIDR without host bits`},
	{"pool reserved twice a range", func(c *NodeConfig) { c.Spec.Pools[1].Reserved = []string{"192.0.2.1-192.0.2.2-192.0.2.3"} }, "spec.pools[1]: Invalid value",
		`spec.pools[1].reserved[0]: Invalid value`},
	{"pool reserved falling", func(c *NodeConfig) { c.Spec.Pools[1].Reserved = []string{"192.0.2.9-192.0.2.2"} }, "spec.pools[1]: Invalid value", ""},
	{"pool allocator", func(c *NodeConfig) { c.Spec.Pools[1].Allocator = "../sticky" }, "spec.pools[1]: Invalid value",
		`spec.pools[1].allocator: Invalid value: "../sticky": write random, sequential, or an extension's name`},
	{"pool announce", func(c *NodeConfig) { c.Spec.Pools[0].Announce = "all" }, `spec.pools[0].announce: Unsupported value: "all": supported values: "summary", "addresses"`,
		`spec.pools[0].announce: Unsupported value: "all": supported values: "summary", "addresses"`},
	{"pools overlap", func(c *NodeConfig) { c.Spec.Pools[0].CIDR = "192.0.2.0/24" }, "spec.pools: Invalid value",
		"spec.pools: Invalid value: pools overlap: make them disjoint or remove one"},
	{"no family", func(c *NodeConfig) { c.Spec.Defaults.IPv6, c.Spec.Defaults.IPv4 = new(false), new(false) }, "spec.defaults: Invalid value",
		"spec.defaults: Invalid value: ipv6 and ipv4 are both false"},
	{"ipAlgo", func(c *NodeConfig) { c.Spec.Defaults.IPAlgo = []IPAlgoField{"node"} }, "spec.defaults.ipAlgo[0]: Unsupported value",
		`spec.defaults.ipAlgo[0]: Unsupported value: "node": supported values: "namespace", "pod", "image"`},
	{"ipAlgo twice", func(c *NodeConfig) { c.Spec.Defaults.IPAlgo = []IPAlgoField{"pod", "pod"} }, "spec.defaults.ipAlgo[1]: Duplicate value",
		"spec.defaults.ipAlgo: Invalid value: names a field twice: name each once"},
	{"coolDown", func(c *NodeConfig) { c.Spec.Defaults.CoolDown = &metav1.Duration{Duration: -1} }, "spec.defaults.coolDown: Invalid value",
		`spec.defaults.coolDown: Invalid value: "-1ns": write a duration of 0s or more, such as 120s`},
	{"speaker", func(c *NodeConfig) { c.Spec.BGP.Speaker = "bird; rm" }, `spec.bgp.speaker: Invalid value: "bird; rm": write bird, or an extension's name`,
		`spec.bgp.speaker: Invalid value: "bird; rm": write bird, or an extension's name`},
	{"localASN 0", func(c *NodeConfig) { c.Spec.BGP.LocalASN = 0 }, "spec.bgp.localASN: Invalid value: 0: is no usable AS number",
		"spec.bgp.localASN: Invalid value: 0: is no usable AS number: use 1 to 4294967294 but"},
	{"localASN too large", func(c *NodeConfig) { c.Spec.BGP.LocalASN = 1 << 32 }, "spec.bgp.localASN: Invalid value",
		"spec.bgp.localASN: Invalid value: 4294967296: is no usable AS number: use 1 to 4294967294 but"},
	{"routerID IPv6", func(c *NodeConfig) { c.Spec.BGP.RouterID = "2001:db8::1" }, "spec.bgp.routerID: Invalid value",
		`spec.bgp.routerID: Invalid value: "2001:db8::1": write it as an IPv4 unicast address such as 192.0.2.1,`},
	{"routerID 0", func(c *NodeConfig) { c.Spec.BGP.RouterID = "0.0.0.0" }, "spec.bgp.routerID: Invalid value",
		`spec.bgp.routerID: Invalid value: "0.0.0.0": write it as an IPv4 unicast address such as 192.0.2.1,`},
	{"routerID hostile", func(c *NodeConfig) { c.Spec.BGP.RouterID = "1.2.3.4; log syslog all" }, "spec.bgp.routerID: Invalid value",
		`spec.bgp.routerID: Invalid value: "1.2.3.4; log syslog all": write it as an IPv4 unicast address such as 192.0.2.1,`},
	{"exportAccept", func(c *NodeConfig) { c.Spec.BGP.ExportAccept = []string{"10.0.0.1/8"} }, "spec.bgp.exportAccept[0]: Invalid value",
		`spec.bgp.exportAccept[0]: Invalid value: "10.0.0.1/8": has host bits set: write the network's own address,`},
	{"peers of one name", func(c *NodeConfig) { c.Spec.BGP.Peers[1].Name = "tor-a" }, "spec.bgp.peers[1].name: Duplicate value",
		`spec.bgp.peers[1]: Duplicate value: {"name":"tor-a"}`},
	{"peers of one address", func(c *NodeConfig) {
		c.Spec.BGP.Peers[1] = Peer{Name: "x", Address: "2001:db8:0::a", PeerASN: 1}
	}, "spec.bgp.peers[1]: Invalid value",
		"spec.bgp.peers: Invalid value: two peers have one address, or one interface:"},
	{"peers of one interface", func(c *NodeConfig) {
		c.Spec.BGP.Peers[0] = Peer{Name: "x", Interface: "eth1", PeerASN: 1}
	}, "spec.bgp.peers[1]: Invalid value",
		"spec.bgp.peers: Invalid value: two peers have one address, or one interface:"},
	{"two unnumbered peers and a password", func(c *NodeConfig) {
		c.Spec.BGP.Peers[0] = Peer{Name: "x", Interface: "eth0", PeerASN: 1}
		c.Spec.BGP.Peers[1].PasswordSecretRef = &SecretKeyRef{Name: "bgp"}
	}, "spec.bgp.peers[1].passwordSecretRef: Invalid value",
		"spec.bgp.peers: Invalid value: several peers are unnumbered or have one link-local"},
	{"one link-local address twice and a password", func(c *NodeConfig) {
		ref := &SecretKeyRef{Name: "bgp"}
		c.Spec.BGP.Peers[0] = Peer{Name: "x", Address: "fe80::1", Interface: "eth0", PeerASN: 1, PasswordSecretRef: ref}
		c.Spec.BGP.Peers[1] = Peer{Name: "y", Address: "fe80::1", Interface: "eth1", PeerASN: 1}
	}, "spec.bgp.peers[0].passwordSecretRef: Invalid value",
		"spec.bgp.peers: Invalid value: several peers are unnumbered or have one link-local"},
}

// spoiltPeers are what can be wrong with one peer; errors are on fields of spec.bgp.peers[0].
var spoiltPeers = []struct {
	name      string
	spoil     func(*Peer)
	want, api string
}{
	{"no end", func(p *Peer) { p.Address = "" }, "address: Required value: write the peer's address, or for an unnumbered session its interface",
		"spec.bgp.peers[0].address: Required value: write the peer's address, or for an unnumbered"},
	{"no name", func(p *Peer) { p.Name = "" }, "name: Invalid value",
		`spec.bgp.peers[0].name: Invalid value: "": use at most 40 of a-z, 0-9 and -, a letter or`},
	{"name with quote", func(p *Peer) { p.Name = `a"b` }, "name: Invalid value",
		`spec.bgp.peers[0].name: Invalid value: "a\"b": use at most 40 of a-z, 0-9 and -, a letter or`},
	{"name with brace", func(p *Peer) { p.Name = "a{b}" }, "name: Invalid value",
		`spec.bgp.peers[0].name: Invalid value: "a{b}": use at most 40 of a-z, 0-9 and -, a letter or`},
	{"name with newline", func(p *Peer) { p.Name = "a\nb" }, "name: Invalid value",
		`spec.bgp.peers[0].name: Invalid value: "a\nb": use at most 40 of a-z, 0-9 and -, a letter or`},
	{"name ends in newline", func(p *Peer) { p.Name = "a\n" }, "name: Invalid value",
		`spec.bgp.peers[0].name: Invalid value: "a\n": use at most 40 of a-z, 0-9 and -, a letter or`},
	{"name with semicolon", func(p *Peer) { p.Name = "a;b" }, "name: Invalid value",
		`spec.bgp.peers[0].name: Invalid value: "a;b": use at most 40 of a-z, 0-9 and -, a letter or`},
	{"name with underscore", func(p *Peer) { p.Name = "a_b" }, "name: Invalid value",
		`spec.bgp.peers[0].name: Invalid value: "a_b": use at most 40 of a-z, 0-9 and -, a letter or`},
	{"name too long", func(p *Peer) { p.Name = strings.Repeat("a", 41) }, "name: Invalid value",
		"spec.bgp.peers[0].name: Too long: may not be more than 40 bytes"},
	{"address hostile", func(p *Peer) { p.Address = "2001:db8::1; }" }, "address: Invalid value",
		`spec.bgp.peers[0].address: Invalid value: "2001:db8::1; }": write an address such as 2001:db8::10 or 192.0.2.10,`},
	{"address with zone", func(p *Peer) { p.Address = "fe80::1%eth0" }, "address: Invalid value",
		`spec.bgp.peers[0].address: Invalid value: "fe80::1%eth0": write an address such as 2001:db8::10 or 192.0.2.10,`},
	{"address 4in6", func(p *Peer) { p.Address = "::ffff:192.0.2.1" }, "address: Invalid value",
		`spec.bgp.peers[0].address: Invalid value: "::ffff:192.0.2.1": write an address such as 2001:db8::10 or 192.0.2.10,`},
	{"address multicast", func(p *Peer) { p.Address = "ff02::1" }, "address: Invalid value",
		`spec.bgp.peers[0].address: Invalid value: "ff02::1": is no unicast address: write the router's own`},
	{"address unspecified", func(p *Peer) { p.Address = "::" }, "address: Invalid value",
		`spec.bgp.peers[0].address: Invalid value: "::": is no unicast address: write the router's own`},
	{"address a CIDR", func(p *Peer) { p.Address = "2001:db8::a/64" }, "address: Invalid value",
		`spec.bgp.peers[0].address: Invalid value: "2001:db8::a/64": write an address such as 2001:db8::10 or 192.0.2.10,`},
	{"link-local alone", func(p *Peer) { p.Address = "fe80::1" }, "interface: Required value",
		"spec.bgp.peers[0].interface: Required value: a link-local address needs the interface that"},
	{"link-local multihop", func(p *Peer) { p.Address, p.LocalAddress, p.Interface = "fe80::1", "fe80::2", "eth0" }, "address: Invalid value",
		"spec.bgp.peers[0].address: Invalid value: is link-local: remove multihop and localAddress,"},
	{"interface hostile", func(p *Peer) { p.Interface = `eth0"; }` }, "interface: Invalid value",
		`spec.bgp.peers[0].interface: Invalid value: "eth0\"; }": write an interface's name: letters, digits, -`},
	{"interface too long", func(p *Peer) { p.Interface = "abcdefghijklmnop" }, "interface: Invalid value",
		"spec.bgp.peers[0].interface: Too long: may not be more than 15 bytes"},
	{"interface multihop", func(p *Peer) { p.Interface, p.Multihop = "eth0", 2 }, "interface: Invalid value",
		"spec.bgp.peers[0].interface: Invalid value: a multihop peer is on no link: remove interface"},
	{"unnumbered localAddress", func(p *Peer) { p.Address, p.Interface, p.LocalAddress = "", "eth0", "2001:db8::1" }, "interface: Invalid value",
		"spec.bgp.peers[0].interface: Invalid value: makes the session unnumbered: remove localAddress"},
	{"localAddress", func(p *Peer) { p.LocalAddress = "2001:db8::x" }, "localAddress: Invalid value",
		`spec.bgp.peers[0].localAddress: Invalid value: "2001:db8::x": write an address such as 2001:db8::10 or 192.0.2.10,`},
	{"localAddress of the other family", func(p *Peer) { p.LocalAddress = "192.0.2.1" }, "localAddress: Invalid value",
		"spec.bgp.peers[0].localAddress: Invalid value: use an address of the family of the peer's"},
	{"peerASN", func(p *Peer) { p.PeerASN = 23456 }, "peerASN: Invalid value",
		"spec.bgp.peers[0].peerASN: Invalid value: 23456: is no usable AS number: use 1 to 4294967294 but"},
	{"no family", func(p *Peer) { p.Families = []Family{} }, "families: Required value", ""},
	{"family", func(p *Peer) { p.Families = []Family{"ipx"} }, "families[0]: Unsupported value",
		`spec.bgp.peers[0].families[0]: Unsupported value: "ipx": supported values: "ipv4", "ipv6"`},
	{"family twice", func(p *Peer) { p.Families = []Family{"ipv6", "ipv6"} }, "families[1]: Duplicate value",
		`spec.bgp.peers[0].families[1]: Duplicate value: "ipv6"`},
	{"IPv6 over IPv4", func(p *Peer) { p.Address, p.Families = "192.0.2.1", []Family{"ipv4", "ipv6"} }, "families: Invalid value",
		"spec.bgp.peers[0].families: Invalid value: an IPv4 session carries IPv4 alone: use the peer's"},
	{"secret name", func(p *Peer) { p.PasswordSecretRef = &SecretKeyRef{Name: "../etc"} }, "passwordSecretRef.name: Invalid value",
		`spec.bgp.peers[0].passwordSecretRef.name: Invalid value: "../etc": write the Secret's name: a-z, 0-9, - and .`},
	{"secret key", func(p *Peer) { p.PasswordSecretRef = &SecretKeyRef{Name: "a", Key: ".."} }, "passwordSecretRef.key: Invalid value",
		`spec.bgp.peers[0].passwordSecretRef.key: Invalid value: "..": write the Secret's key: letters, digits, - _`},
	{"secret key with slash", func(p *Peer) { p.PasswordSecretRef = &SecretKeyRef{Name: "a", Key: "b/c"} }, "passwordSecretRef.key: Invalid value",
		`spec.bgp.peers[0].passwordSecretRef.key: Invalid value: "b/c": write the Secret's key: letters, digits, - _`},
	{"bfd on, as YAML reads it", func(p *Peer) { p.BFD = "true" }, "bfd: Unsupported value",
		`spec.bgp.peers[0].bfd: Unsupported value: "true": supported values: "immediate", "graceful"`},
	{"bfd and graceful restart", func(p *Peer) { p.BFD, p.GracefulRestart = BFDImmediate, new(true) }, "bfd: Invalid value",
		"spec.bgp.peers[0].bfd: Invalid value: contradicts gracefulRestart: use bfd: graceful,"},
	{"bfd multihop", func(p *Peer) { p.BFD, p.Multihop = BFDGraceful, 2 }, "localAddress: Required value",
		"spec.bgp.peers[0].localAddress: Required value: BFD over several hops needs it"},
	{"hold time under 3", func(p *Peer) { p.HoldTime = seconds(2); p.KeepaliveTime = nil }, "holdTime: Invalid value",
		`spec.bgp.peers[0].holdTime: Invalid value: "2s": use whole seconds from 3s to 65535s`},
	{"hold time 0", func(p *Peer) { p.HoldTime, p.KeepaliveTime = seconds(0), seconds(1) }, "holdTime: Invalid value",
		"spec.bgp.peers[0].keepaliveTime: Invalid value: use whole seconds from 1s to a third of holdTime,"},
	{"hold time of half seconds", func(p *Peer) { p.HoldTime = &metav1.Duration{Duration: 3500 * time.Millisecond} }, "holdTime: Invalid value",
		`spec.bgp.peers[0].holdTime: Invalid value: "3.5s": use whole seconds from 3s to 65535s`},
	{"hold time too long", func(p *Peer) { p.HoldTime = seconds(65536) }, "holdTime: Invalid value",
		`spec.bgp.peers[0].holdTime: Invalid value: "18h12m16s": use whole seconds from 3s to 65535s`},
	{"keepalive too long", func(p *Peer) { p.HoldTime, p.KeepaliveTime = seconds(9), seconds(4) }, "keepaliveTime: Invalid value",
		"spec.bgp.peers[0].keepaliveTime: Invalid value: use whole seconds from 1s to a third of holdTime,"},
	{"multihop 1", func(p *Peer) { p.Multihop = 1 }, "multihop: Invalid value",
		"spec.bgp.peers[0].multihop: Invalid value: 1: spec.bgp.peers[0].multihop in body should be"},
	{"multihop 256", func(p *Peer) { p.Multihop = 256 }, "multihop: Invalid value",
		"spec.bgp.peers[0].multihop: Invalid value: 256: spec.bgp.peers[0].multihop in body should be"},
	{"community", func(p *Peer) { p.Communities = []string{"65536:1"} }, "communities[0]: Invalid value",
		`spec.bgp.peers[0].communities[0]: Invalid value: "65536:1": write a community such as 65000:100, both parts`},
	{"community hostile", func(p *Peer) { p.Communities = []string{"1:1)); accept; #"} }, "communities[0]: Invalid value",
		`spec.bgp.peers[0].communities[0]: Invalid value: "1:1)); accept; #": write a community such as 65000:100, both parts`},
	{"community of four", func(p *Peer) { p.Communities = []string{"1:2:3:4"} }, "communities[0]: Invalid value",
		`spec.bgp.peers[0].communities[0]: Invalid value: "1:2:3:4": write a community such as 65000:100, both parts`},
	{"localPref external", func(p *Peer) { p.LocalPref = new(int64(1)) }, "localPref: Invalid value",
		"spec.bgp.peers: Invalid value: localPref goes to internal peers only: remove"},
	{"med", func(p *Peer) { p.MED = new(int64(-1)) }, "med: Invalid value",
		"spec.bgp.peers[0].med: Invalid value: -1: spec.bgp.peers[0].med in body should be greater"},
	{"importAccept", func(p *Peer) { p.ImportAccept = []PrefixRange{{CIDR: "::/0{0,128}"}} }, "importAccept[0].cidr: Invalid value",
		`spec.bgp.peers[0].importAccept[0].cidr: Invalid value: "::/0{0,128}": write a CIDR such as 2001:db8:1::/64 or 192.0.2.0/24`},
	{"importAccept maxLength", func(p *Peer) { p.ImportAccept = []PrefixRange{{CIDR: "10.0.0.0/8", MaxLength: 33}} }, "importAccept[0].maxLength: Invalid value",
		"spec.bgp.peers[0].importAccept[0].maxLength: Invalid value: use the CIDR's own length to that of an address,"},
	{"importAccept maxLength short", func(p *Peer) { p.ImportAccept = []PrefixRange{{CIDR: "10.0.0.0/8", MaxLength: 7}} }, "importAccept[0].maxLength: Invalid value",
		"spec.bgp.peers[0].importAccept[0].maxLength: Invalid value: use the CIDR's own length to that of an address,"},
	{"maxPrefixes", func(p *Peer) { p.MaxPrefixes = -1 }, "maxPrefixes: Invalid value",
		"spec.bgp.peers[0].maxPrefixes: Invalid value: -1: spec.bgp.peers[0].maxPrefixes in body should"},
}

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}
