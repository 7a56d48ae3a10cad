// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/plugins/cni"
)

const (
	unicast6 = "2001:db8:1::5/128"
	unicast4 = "10.1.0.5/32"
	anycast6 = "2001:db8:a::1/128"
	anycast4 = "10.10.0.1/32"
)

var dual = []string{unicast6, unicast4}

// compare shows how two texts differ, line by line.
func compare(t *testing.T, what, want, got string) {
	t.Helper()
	split := func(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
	if diff := cmp.Diff(split(want), split(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestAddDual(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	n.add(a, a.given(dual, anycast6, anycast4))
	compare(t, "host", `
flock8829dfd9@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 group 7273 link/ether ee:ee:ee:ee:ee:ee alias flock:flock/c1/eth0
flock8829dfd9 inet6 fe80::1/128 scope link nodad
lo inet 127.0.0.1/8 scope host lo
lo inet6 ::1/128 scope host
fe80::/64 dev flock8829dfd9 proto static metric 256
fe80::1 dev flock8829dfd9 proto kernel metric 256
10.1.0.5 dev flock8829dfd9 lladdr 36:1f:02:ea:cd:da PERMANENT
10.10.0.1 dev flock8829dfd9 lladdr 36:1f:02:ea:cd:da PERMANENT
2001:db8:1::5 dev flock8829dfd9 lladdr 36:1f:02:ea:cd:da PERMANENT
2001:db8:a::1 dev flock8829dfd9 lladdr 36:1f:02:ea:cd:da PERMANENT`, n.picture())
	compare(t, "pod", `
eth0@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 link/ether 36:1f:02:ea:cd:da
eth0 inet 10.1.0.5/32 scope global eth0
eth0 inet6 2001:db8:1::5/128 scope global nodad
eth0 inet6 fe80::341f:2ff:feea:cdda/64 scope link nodad
lo inet 10.10.0.1/32 scope global lo
lo inet 127.0.0.1/8 scope host lo
lo inet6 2001:db8:a::1/128 scope global nodad
lo inet6 ::1/128 scope host
169.254.1.1 dev eth0 proto static scope link
default via 169.254.1.1 dev eth0 proto static onlink
2001:db8:1::5 dev eth0 proto kernel metric 256
2001:db8:a::1 dev lo proto kernel metric 256
default via fe80::1 dev eth0 proto static metric 1024 onlink
fe80::/64 dev eth0 proto kernel metric 256
169.254.1.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee PERMANENT
fe80::1 dev eth0 lladdr ee:ee:ee:ee:ee:ee PERMANENT`, a.pod.picture())
	for key, want := range map[string]string{
		"ipv4/conf/flock8829dfd9/forwarding": "1", "ipv4/conf/flock8829dfd9/proxy_arp": "1",
		"ipv4/neigh/flock8829dfd9/proxy_delay": "0", "ipv6/conf/flock8829dfd9/forwarding": "1",
		"ipv6/conf/flock8829dfd9/addr_gen_mode": "1",
	} {
		if got := n.sysctl(key); got != want {
			t.Errorf("host: %s is %s, want %s", key, got, want)
		}
	}
	for _, key := range []string{"accept_ra", "autoconf", "forwarding"} {
		if got := a.pod.sysctl("ipv6/conf/eth0/" + key); got != "0" {
			t.Errorf("pod: %s is %s, want 0", key, got)
		}
	}
}

func TestAddIPv4Only(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	n.add(a, a.given([]string{unicast4}))
	compare(t, "host", `
flock8829dfd9@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 group 7273 link/ether ee:ee:ee:ee:ee:ee alias flock:flock/c1/eth0
lo inet 127.0.0.1/8 scope host lo
lo inet6 ::1/128 scope host
10.1.0.5 dev flock8829dfd9 lladdr 36:1f:02:ea:cd:da PERMANENT`, n.picture())
	compare(t, "pod", `
eth0@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 link/ether 36:1f:02:ea:cd:da
eth0 inet 10.1.0.5/32 scope global eth0
lo inet 127.0.0.1/8 scope host lo
lo inet6 ::1/128 scope host
169.254.1.1 dev eth0 proto static scope link
default via 169.254.1.1 dev eth0 proto static onlink
169.254.1.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee PERMANENT`, a.pod.picture())
	if got := n.sysctl("ipv6/conf/all/forwarding"); got != "0" {
		t.Errorf("an IPv4 pod switched IPv6 forwarding to %s", got)
	}
	if got := n.sysctl("ipv6/conf/flock8829dfd9/accept_ra"); got != "0" {
		t.Errorf("accept_ra is %s on a link that does not forward: the pod could become the node's router", got)
	}
}

func TestAddIPv6Only(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	n.add(a, a.given([]string{unicast6}))
	compare(t, "host", `
flock8829dfd9@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 group 7273 link/ether ee:ee:ee:ee:ee:ee alias flock:flock/c1/eth0
flock8829dfd9 inet6 fe80::1/128 scope link nodad
lo inet 127.0.0.1/8 scope host lo
lo inet6 ::1/128 scope host
fe80::/64 dev flock8829dfd9 proto static metric 256
fe80::1 dev flock8829dfd9 proto kernel metric 256
2001:db8:1::5 dev flock8829dfd9 lladdr 36:1f:02:ea:cd:da PERMANENT`, n.picture())
	compare(t, "pod", `
eth0@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 link/ether 36:1f:02:ea:cd:da
eth0 inet6 2001:db8:1::5/128 scope global nodad
eth0 inet6 fe80::341f:2ff:feea:cdda/64 scope link nodad
lo inet 127.0.0.1/8 scope host lo
lo inet6 ::1/128 scope host
2001:db8:1::5 dev eth0 proto kernel metric 256
default via fe80::1 dev eth0 proto static metric 1024 onlink
fe80::/64 dev eth0 proto kernel metric 256
fe80::1 dev eth0 lladdr ee:ee:ee:ee:ee:ee PERMANENT`, a.pod.picture())
	if got := n.sysctl("ipv4/ip_forward"); got != "0" {
		t.Errorf("an IPv6 pod switched IPv4 forwarding to %s", got)
	}
}

func TestAddResult(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	prev := a.given(dual, anycast6)
	prev.IPs = []*current.IPConfig{prev.IPs[2], prev.IPs[0], prev.IPs[1]}
	prev.Routes = []*types.Route{route("0.0.0.0/0"), route("2001:db8::/32")}
	prev.DNS = types.DNS{Nameservers: []string{"2001:db8::53"}}
	result := n.add(a, prev)
	var got strings.Builder
	for _, part := range []any{result.Interfaces, result.IPs, result.Routes, result.DNS} {
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(strings.ReplaceAll(string(text), "},{", "},\n{") + "\n")
	}
	compare(t, "result", strings.ReplaceAll(`
[{"name":"lo","sandbox":"POD"},
{"name":"flock8829dfd9","mac":"ee:ee:ee:ee:ee:ee","mtu":1450},
{"name":"eth0","mac":"36:1f:02:ea:cd:da","mtu":1450,"sandbox":"POD"}]
[{"interface":2,"address":"2001:db8:1::5/128","gateway":"fe80::1"},
{"interface":2,"address":"10.1.0.5/32","gateway":"169.254.1.1"},
{"interface":0,"address":"2001:db8:a::1/128"}]
[{"dst":"0.0.0.0/0","gw":"169.254.1.1"},
{"dst":"2001:db8::/32","gw":"fe80::1"}]
{"nameservers":["2001:db8::53"]}`, "POD", a.pod.Path()), got.String())
}

func TestAddTakesRoutesAsListed(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	table := 100
	prev := a.given(dual)
	prev.Routes = []*types.Route{
		route("10.0.0.0/8", func(r *types.Route) { r.Priority, r.MTU, r.AdvMSS = 7, 1400, 1360 }),
		route("2001:db8::/32", func(r *types.Route) { r.Table = &table }),
	}
	n.add(a, prev)
	compare(t, "IPv4", `
10.0.0.0/8 via 169.254.1.1 dev eth0 proto static metric 7 onlink mtu 1400 advmss 1360
169.254.1.1 dev eth0 proto static scope link`, trimmed(a.pod.run("ip -4 route show")))
	compare(t, "IPv6", `2001:db8::/32 via fe80::1 dev eth0 proto static metric 1024 onlink pref medium`,
		trimmed(a.pod.run("ip -6 route show table 100")))
	n.must("CHECK", a, n.add(a, prev))
}

func trimmed(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

// Two interfaces of one pod: the first one's routes stay in force, and both can be used.
func TestAddSecondInterface(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	n.add(a, a.given(dual))
	before := a.pod.run("ip -4 route get 8.8.8.8") + a.pod.run("ip -6 route get 2001:db8:8::8")
	b := a
	b.ifName = "net1"
	result := n.add(b, b.given([]string{"2001:db8:1::6/128", "10.1.0.6/32"}))
	compare(t, "routes", before, a.pod.run("ip -4 route get 8.8.8.8")+a.pod.run("ip -6 route get 2001:db8:8::8"))
	compare(t, "net1", `
default via 169.254.1.1 proto static metric 2051 onlink
169.254.1.1 proto static scope link`, trimmed(a.pod.run("ip -4 route show dev net1")))
	n.must("CHECK", b, result)
	n.must("DEL", b, result)
	if got := a.pod.run("ip -o link show"); strings.Contains(got, "net1") || !strings.Contains(got, "eth0") {
		t.Errorf("after DEL of net1 the pod has\n%s", got)
	}
}

func TestAddMTU(t *testing.T) {
	for _, test := range []struct {
		name  string
		setup func(testNode)
		want  int
	}{
		{"uplink", func(testNode) {}, 1450},
		{"configured", func(n testNode) { n.conf["mtu"] = 9000 }, 9000},
		{"in the node file", func(n testNode) { n.conf["nodeFile"] = nodeFile(n.t, `{"pools":[],"mtu":1300}`) }, 1300},
		{"configured and in the node file", func(n testNode) {
			n.conf["nodeFile"], n.conf["mtu"] = nodeFile(n.t, `{"pools":[],"mtu":1300}`), 9000
		}, 9000},
		{"not in the node file", func(n testNode) { n.conf["nodeFile"] = nodeFile(n.t, `{"pools":[]}`) }, 1450},
		{"no node file", func(n testNode) { n.conf["nodeFile"] = "/nonexistent" }, 1450},
		{"only IPv6 has a default route", func(n testNode) { n.run("ip -4 route del default") }, 1450},
		{"only IPv4 has a default route", func(n testNode) { n.run("ip -6 route del default") }, 1450},
		{"no default route", func(n testNode) { n.run("ip -4 route del default"); n.run("ip -6 route del default") }, 1500},
		{"an unreachable default route", func(n testNode) {
			n.run("ip -4 route replace unreachable default")
			n.run("ip -6 route del default")
		}, 1500},
		{"the smaller of two", func(n testNode) {
			n.run("ip link add up02 mtu 1400 type veth peer name down02")
			n.run("ip link set up02 up")
			n.run("ip -4 route replace default dev up02")
		}, 1400},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, a := newNode(t), newPod(t, "c1")
			test.setup(n)
			result := n.add(a, a.given(dual))
			for _, i := range result.Interfaces[1:] {
				if i.Mtu != test.want {
					t.Errorf("MTU of %s in the result is %d, want %d", i.Name, i.Mtu, test.want)
				}
			}
			n.must("CHECK", a, result)
		})
	}
}

// nodeFile returns the path of a node file.
func nodeFile(t testing.TB, content string) string {
	path := filepath.Join(t.TempDir(), "node.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAddRefusesANodeFileThatIsSpoilt(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	before := n.picture() + "\n" + a.pod.picture()
	for _, content := range []string{`{`, `{"mtu":1279}`} {
		n.conf["nodeFile"] = nodeFile(t, content)
		n.refuse("ADD", a, a.given(dual), types.ErrInvalidNetworkConfig, "node.json")
	}
	compare(t, "node and pod", before, n.picture()+"\n"+a.pod.picture())
}

func TestAddRefuses(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	before := n.picture() + "\n" + a.pod.picture()
	withIPAM := testNode{n.space, map[string]any{"cniVersion": "1.1.0", "name": "flock", "type": name, "ipam": map[string]any{"type": "host-local"}}}
	n.refuse("ADD", a, nil, types.ErrInvalidNetworkConfig, "neither a prevResult nor an ipam section")
	withIPAM.refuse("ADD", a, a.given(dual), types.ErrInvalidNetworkConfig, "both prevResult and the ipam section")
	n.refuse("ADD", a, a.given(nil), types.ErrInvalidNetworkConfig, "there is none")
	n.refuse("ADD", a, a.given([]string{unicast4}, anycast6), types.ErrInvalidNetworkConfig, anycast6[:12])
	for _, test := range []struct{ containerID, ifName, words string }{
		{strings.Repeat("c", 250), "eth0", "name the link of attachment"},
		{"c1", "eth%d", `name the link of attachment flock/c1/eth%d: the kernel would replace`},
		{"c1", "all", "create link flockd621d079 with its other end all: invalid argument"},
	} {
		odd := attachmentOf{test.containerID, a.pod, test.ifName}
		if _, failure := n.exec("ADD", odd, odd.given(dual)); failure == nil || !strings.Contains(failure.Error(), test.words) {
			t.Errorf("ADD of %.20s %s = %v, want an error with %q", test.containerID, test.ifName, failure, test.words)
		}
		n.must("DEL", odd, nil)
	}
	compare(t, "after refusals", before, n.picture()+"\n"+a.pod.picture())
}

// The kernel refuses the multicast address in the very last message but two; everything made so far
// goes, the anycast address on lo included.
func TestAddUndoesWhatFails(t *testing.T) {
	for _, test := range []struct {
		name    string
		unicast []string
		anycast []string
		words   string
	}{
		{"address", []string{unicast6, unicast4, "ff02::5/128"}, []string{anycast6, anycast4},
			"add address ff02::5/128 dev eth0: cannot assign requested address"},
		{"anycast address", dual, []string{anycast6, "ff02::5/128"}, "add address ff02::5/128 dev lo"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, a := newNode(t), newPod(t, "c1")
			a.pod.run("ip link set lo up") // which no ADD takes back
			before := n.picture() + "\n" + a.pod.picture()
			n.refuse("ADD", a, a.given(test.unicast, test.anycast...), cni.CodeKernel, test.words)
			compare(t, "after the failure", before, n.picture()+"\n"+a.pod.picture())
		})
	}
}

func TestAddEnablesIPv6(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	for _, conf := range []string{"all", "default"} {
		a.pod.setSysctl("ipv6/conf/"+conf+"/disable_ipv6", "1")
	}
	n.setSysctl("ipv6/conf/default/disable_ipv6", "1")
	n.must("CHECK", a, n.add(a, a.given(dual, anycast6)))
	n.lead(a, unicast6, anycast6)
	n.firstPacket(bare(unicast6))
	n.firstPacket(bare(anycast6))

	only4 := newPod(t, "c2")
	for _, conf := range []string{"all", "default"} {
		only4.pod.setSysctl("ipv6/conf/"+conf+"/disable_ipv6", "1")
	}
	n.must("CHECK", only4, n.add(only4, only4.given([]string{"10.1.0.6/32"})))
	if got := only4.pod.sysctl("ipv6/conf/eth0/disable_ipv6"); got != "1" {
		t.Errorf("an IPv4 pod's disable_ipv6 became %s", got)
	}
}
