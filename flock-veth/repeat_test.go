// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/flock-veth/internal/pair"
	"flock.fritzlab.net/flock/plugins/cni"
)

// index is the host link's index, which tells a link from another that has replaced it.
func (n testNode) index(link string) string {
	n.t.Helper()
	return strings.Fields(n.run("ip -o link show dev " + link))[0]
}

func TestAddAgainChangesNothing(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	first := n.add(a, a.given(dual, anycast6))
	before, index := n.picture()+"\n"+a.pod.picture(), n.index(a.hostLink())
	// The MTU of a pair that stands is not made to follow the uplink's.
	n.run("ip link set up0 mtu 1400")
	second := n.add(a, a.given(dual, anycast6))
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("result (-first +second):\n%s", diff)
	}
	compare(t, "state", before, n.picture()+"\n"+a.pod.picture())
	if got := n.index(a.hostLink()); got != index {
		t.Errorf("link %s was replaced by %s", index, got)
	}
}

// damage spoils an attachment: CHECK must find it by these words, and a repeated ADD repair it.
var damage = []struct {
	name  string
	do    func(testNode, attachmentOf)
	words string
}{
	{"host link gone", onHost("link del LINK"), "link flock8829dfd9 is missing on the host"},
	{"host link down", onHost("link set LINK down"), "link flock8829dfd9 on the host is down"},
	{"group", onHost("link set LINK group 1"), "is in group 1, not 7273"},
	{"host MAC address", onHost("link set LINK address ee:ee:ee:ee:ee:ef"), "on the host has MAC address ee:ee:ee:ee:ee:ef"},
	{"host MTU", onHost("link set LINK mtu 1400"), "on the host has MTU 1400, not 1450"},
	{"host address", onHost("addr del fe80::1/128 dev LINK"), "the host lacks address fe80::1/128 dev flock8829dfd9"},
	{"host route to the pod's link-local address", onHost("-6 route del fe80::/64 dev LINK"), "the host lacks route fe80::/64 dev flock8829dfd9 metric 256"},
	{"host neighbour", onHost("neigh del 10.1.0.5 dev LINK"), "the host lacks neighbour 10.1.0.5 lladdr 36:1f:02:ea:cd:da dev flock8829dfd9"},
	{"host neighbour of anycast", onHost("neigh del 2001:db8:a::1 dev LINK"), "the host lacks neighbour 2001:db8:a::1"},
	{"host neighbour forgettable", onHost("neigh replace 2001:db8:1::5 lladdr 36:1f:02:ea:cd:da nud stale dev LINK"), "the host lacks neighbour 2001:db8:1::5"},
	{"proxy_arp", func(n testNode, a attachmentOf) { n.setSysctl("ipv4/conf/"+a.hostLink()+"/proxy_arp", "0") }, "proxy_arp"},
	{"link's IPv4 forwarding", func(n testNode, a attachmentOf) { n.setSysctl("ipv4/conf/"+a.hostLink()+"/forwarding", "0") }, "does not forward IPv4"},
	{"link's IPv6 forwarding", func(n testNode, a attachmentOf) { n.setSysctl("ipv6/conf/"+a.hostLink()+"/forwarding", "0") }, "does not forward IPv6"},
	{"node's IPv4 forwarding", func(n testNode, a attachmentOf) {
		n.setSysctl("ipv4/ip_forward", "0")
		n.setSysctl("ipv4/conf/"+a.hostLink()+"/forwarding", "1")
	}, "net.ipv4.ip_forward is 0"},
	{"node's IPv6 forwarding", func(n testNode, a attachmentOf) {
		n.setSysctl("ipv6/conf/all/forwarding", "0")
		n.setSysctl("ipv6/conf/"+a.hostLink()+"/forwarding", "1")
	}, "net.ipv6.conf.all.forwarding is 0"},
	{"pod link down", inPod("link set eth0 down"), "link eth0 in the pod is down"},
	{"pod link renamed", func(_ testNode, a attachmentOf) {
		a.pod.run("ip link set eth0 down")
		a.pod.run("ip link set eth0 name other")
	}, "link eth0 is missing in the pod"},
	{"pod MAC address", inPod("link set eth0 address 02:00:00:00:00:01"), "link eth0 in the pod has MAC address 02:00:00:00:00:01"},
	{"pod MTU", inPod("link set eth0 mtu 1400"), "link eth0 in the pod has MTU 1400"},
	{"pod IPv6 address", inPod("addr del 2001:db8:1::5/128 dev eth0"), "the pod lacks address 2001:db8:1::5/128 dev eth0"},
	{"pod IPv4 address", inPod("addr del 10.1.0.5/32 dev eth0"), "the pod lacks address 10.1.0.5/32 dev eth0"},
	{"pod anycast address", inPod("addr del 2001:db8:a::1/128 dev lo"), "the pod lacks address 2001:db8:a::1/128 dev lo"},
	{"pod lo down", inPod("link set lo down"), "link lo in the pod is down"},
	{"pod IPv6 default route", inPod("-6 route del default"), "the pod lacks route default via fe80::1 dev eth0 metric 1024"},
	{"pod IPv4 default route", inPod("-4 route del default"), "the pod lacks route default via 169.254.1.1 dev eth0"},
	{"pod gateway route", inPod("-4 route del 169.254.1.1"), "the pod lacks route 169.254.1.1/32 dev eth0"},
	{"pod IPv6 neighbour", inPod("neigh del fe80::1 dev eth0"), "the pod lacks neighbour fe80::1 lladdr ee:ee:ee:ee:ee:ee dev eth0"},
	{"pod IPv4 neighbour", inPod("neigh del 169.254.1.1 dev eth0"), "the pod lacks neighbour 169.254.1.1"},
	{"pod accept_ra", func(_ testNode, a attachmentOf) { a.pod.setSysctl("ipv6/conf/eth0/accept_ra", "1") }, "accept_ra 1, not 0"},
}

func onHost(words string) func(testNode, attachmentOf) {
	return func(n testNode, a attachmentOf) { n.run("ip " + strings.ReplaceAll(words, "LINK", a.hostLink())) }
}

func inPod(words string) func(testNode, attachmentOf) {
	return func(_ testNode, a attachmentOf) { a.pod.run("ip " + words) }
}

func TestCheckFindsAndAddRepairs(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	result := n.add(a, a.given(dual, anycast6))
	n.must("CHECK", a, result)
	before := n.picture() + "\n" + a.pod.picture()
	for _, test := range damage {
		t.Run(test.name, func(t *testing.T) {
			n.t, a.pod.t = t, t
			test.do(n, a)
			n.refuse("CHECK", a, result, cni.CodeCheckMismatch, test.words)
			if diff := cmp.Diff(result, n.add(a, a.given(dual, anycast6))); diff != "" {
				t.Errorf("result (-first +after the damage):\n%s", diff)
			}
			n.must("CHECK", a, result)
			compareButIndices(t, before, n.picture()+"\n"+a.pod.picture())
		})
	}
}

var otherEnd = regexp.MustCompile(`@if\d+`)

// compareButIndices leaves aside which indices the ends of a pair have.
func compareButIndices(t *testing.T, want, got string) {
	t.Helper()
	compare(t, "state", otherEnd.ReplaceAllString(want, "@if"), otherEnd.ReplaceAllString(got, "@if"))
}

func TestCheckFindsAStranger(t *testing.T) {
	for _, alias := range []string{"", "flock:flock/c2/eth0"} {
		n, a := newNode(t), newPod(t, "c1")
		result := n.add(a, a.given(dual))
		if _, err := n.Run(t.Context(), "ip", "link", "set", a.hostLink(), "alias", alias); err != nil {
			t.Fatal(err)
		}
		n.refuse("CHECK", a, result, cni.CodeCheckMismatch,
			`link flock8829dfd9 on the host has alias "`+alias+`", not "flock:flock/c1/eth0"`)
	}
}

func TestCheckReadsPrevResult(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	result := n.add(a, a.given(dual, anycast6))
	for _, test := range []struct {
		name   string
		change func(*current.Result)
		words  string
	}{
		{"host MAC address", func(r *current.Result) { r.Interfaces[1].Mac = "ee:ee:ee:ee:ee:ef" }, "prevResult has MAC address ee:ee:ee:ee:ee:ef"},
		{"pod MAC address", func(r *current.Result) { r.Interfaces[2].Mac = "02:00:00:00:00:01" }, "prevResult has MAC address 02:00:00:00:00:01"},
		{"MTU", func(r *current.Result) { r.Interfaces[1].Mtu = 1400 }, "has MTU 1450, not 1400"},
		{"another address", func(r *current.Result) { r.IPs[1] = ip("10.1.0.6/32", 2) }, "the host lacks neighbour 10.1.0.6"},
		{"another anycast address", func(r *current.Result) { r.IPs[2] = ip("2001:db8:a::2/128", 0) }, "the host lacks neighbour 2001:db8:a::2"},
		{"another route", func(r *current.Result) { r.Routes = append(r.Routes, route("10.0.0.0/8")) }, "the pod lacks route 10.0.0.0/8 via 169.254.1.1 dev eth0"},
		{"no interfaces", func(r *current.Result) { r.Interfaces, r.IPs = nil, nil }, "does not name flock8829dfd9 on the host and eth0 in the pod"},
		{"no address", func(r *current.Result) { r.IPs = nil }, "there is none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := *result
			changed.Interfaces = nil
			for _, i := range result.Interfaces {
				clone := *i
				changed.Interfaces = append(changed.Interfaces, &clone)
			}
			changed.IPs, changed.Routes = slices.Clone(result.IPs), slices.Clone(result.Routes)
			test.change(&changed)
			n.refuse("CHECK", a, &changed, cni.CodeCheckMismatch, test.words)
		})
	}
	n.refuse("CHECK", a, nil, types.ErrInvalidNetworkConfig, "got no prevResult")
}

// Other addresses than before: nothing of the old ones stays.
func TestAddReplacesOtherAddresses(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	n.add(a, a.given(dual, "2001:db8:a::9/128", "10.10.0.9/32"))
	n.must("CHECK", a, n.add(a, a.given([]string{"2001:db8:1::6/128"}, anycast6)))
	for _, old := range []string{"10.", "2001:db8:a::9", "2001:db8:1::5"} {
		if got := n.picture() + a.pod.picture(); strings.Contains(got, old) {
			t.Errorf("%s is left of the first ADD:\n%s", old, got)
		}
	}
}

// draft is what an ADD leaves that dies between its first two messages.
func (n testNode) draft(a attachmentOf) {
	n.t.Helper()
	n.run("ip link add " + a.hostLink() + " address ee:ee:ee:ee:ee:ee group 1844617757 type veth peer name eth0 netns " + a.pod.Name)
}

func TestAddReplacesADraft(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	n.draft(a)
	n.must("CHECK", a, n.add(a, a.given(dual)))
}

func TestDelRemovesADraft(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	before := n.picture()
	n.draft(a)
	n.must("DEL", a, nil)
	compare(t, "host", before, n.picture())
}

// GC removes a draft, but not while somebody is at work in its pod.
func TestGCRemovesADraft(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	before := n.picture()
	n.draft(a)
	with := n.picture()
	n.conf["cni.dev/valid-attachments"] = []types.GCAttachment{}
	other := testNode{n.space, map[string]any{"cniVersion": "1.1.0", "name": "other", "type": name, "cni.dev/valid-attachments": []any{}}}
	other.must("GC", attachmentOf{}, nil)
	compare(t, "host after another network's GC", with, n.picture())

	busy, err := pair.OpenNetns(a.pod.Path())
	if err != nil {
		t.Fatal(err)
	}
	n.must("GC", attachmentOf{}, nil)
	compare(t, "host after GC during an ADD", with, n.picture())
	busy.Close()
	n.must("GC", attachmentOf{}, nil)
	compare(t, "host after GC", before, n.picture())
}

// A link that names the attachment but ends elsewhere is left over from an earlier namespace.
func TestAddReplacesTheStale(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	old := a
	old.pod = newPod(t, "old").pod
	n.add(old, old.given(dual))
	n.must("CHECK", a, n.add(a, a.given(dual)))
	if got := old.pod.run("ip -o link show"); strings.Contains(got, "eth0") {
		t.Errorf("the old namespace still has\n%s", got)
	}
}

func TestAddLeavesStrangersAlone(t *testing.T) {
	alias := func(text string) string { return "link set flock8829dfd9 alias " + text }
	for _, test := range []struct {
		name  string
		setup []string
		words string
	}{
		{"without an alias", nil, `link flock8829dfd9: the link belongs to something else: it is a link named flock8829dfd9 of kind "veth" with alias ""`},
		{"with an alias", []string{alias("uplink")}, `with alias "uplink"`},
		{"of another attachment", []string{alias("flock:flock/c2/eth0")}, "its alias names the attachment flock/c2/eth0"},
		{"of another network", []string{alias("flock:other/c1/eth0")}, "its alias names the attachment other/c1/eth0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, a := newNode(t), newPod(t, "c1")
			n.run("ip link add flock8829dfd9 type veth peer name peer")
			for _, words := range test.setup {
				n.run("ip " + words)
			}
			before := n.picture() + "\n" + a.pod.picture()
			n.refuse("ADD", a, a.given(dual, anycast6), cni.CodeHostLinkTaken, test.words)
			n.must("DEL", a, nil)
			compare(t, "state", before, n.picture()+"\n"+a.pod.picture())
		})
	}
}

func TestAddRefusesATakenIfName(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	a.pod.run("ip link add eth0 type veth peer name other")
	before := n.picture() + "\n" + a.pod.picture()
	n.refuse("ADD", a, a.given(dual), cni.CodeIfNameExists, "create eth0 in "+a.pod.Path()+": the pod already has an interface of that name")
	lo := a
	lo.ifName = "lo"
	n.refuse("ADD", lo, lo.given(dual), cni.CodeIfNameExists, "create lo in ")
	compare(t, "state", before, n.picture()+"\n"+a.pod.picture())
}
