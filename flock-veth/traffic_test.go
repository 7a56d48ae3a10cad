// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// lead adds the routes to a pod that flock-route would. It waits until the pod takes packets in: a worker
// of the kernel makes an IPv6 address local, commonly before the ADD returns, on a busy machine some
// milliseconds later.
func (n testNode) lead(a attachmentOf, addresses ...string) {
	n.t.Helper()
	err := lab.Within(n.t.Context(), 10*time.Second, "the pod's addresses are local", func() error {
		local := a.pod.run("ip -6 route show table local")
		for _, address := range addresses {
			if strings.Contains(address, ":") && !strings.Contains(local, "local "+bare(address)+" ") {
				return fmt.Errorf("%s is not", address)
			}
		}
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, address := range addresses {
		n.run("ip route add " + address + " dev " + a.hostLink())
	}
}

var roundTrip = regexp.MustCompile(`time=([0-9.]+) ms`)

// firstPacket pings once and wants the answer sooner than any neighbour could have been found out. An
// ARP request alone may wait 0.8 s for its proxy, a duplicate-address check a second.
func (s space) firstPacket(options string) {
	s.t.Helper()
	out := s.run("ping -n -c1 -W2 " + options)
	match := roundTrip.FindStringSubmatch(out)
	if match == nil {
		s.t.Fatalf("ping %s: %s", options, out)
	}
	if ms, _ := strconv.ParseFloat(match[1], 64); ms > 50 {
		s.t.Errorf("the first packet of ping %s took %s ms", options, match[1])
	}
}

func TestFirstPacket(t *testing.T) {
	for _, test := range []struct {
		name    string
		node    func(testing.TB) testNode
		a, b    []string
		anycast []string
	}{
		{"dual", newNode, dual, []string{"2001:db8:1::6/128", "10.1.0.6/32"}, []string{anycast6, anycast4}},
		{"IPv4", newNode, dual[1:], []string{"10.1.0.6/32"}, []string{anycast4}},
		{"IPv6", newNode, dual[:1], []string{"2001:db8:1::6/128"}, []string{anycast6}},
		{"no default route", newLocalNode, dual, []string{"2001:db8:1::6/128", "10.1.0.6/32"}, []string{anycast6, anycast4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, a, b := test.node(t), newPod(t, "c1"), newPod(t, "c2")
			n.add(a, a.given(test.a, test.anycast...))
			n.add(b, b.given(test.b))
			n.lead(a, append(test.anycast, test.a...)...)
			n.lead(b, test.b...)
			for _, address := range append(test.anycast, test.a...) {
				b.pod.firstPacket(bare(address))
			}
			for _, address := range test.b {
				n.firstPacket(bare(address))
				for _, source := range append(test.anycast, test.a...) {
					if strings.Contains(source, ":") == strings.Contains(address, ":") {
						a.pod.firstPacket("-I " + bare(source) + " " + bare(address))
					}
				}
			}
		})
	}
}

func bare(prefix string) string {
	address, _, _ := strings.Cut(prefix, "/")
	return address
}

// A pod whose software empties its neighbour table finds the gateways again.
func TestGatewaysAnswer(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	n.add(a, a.given(dual))
	n.lead(a, dual...)
	for _, gateway := range []string{"fe80::1", "169.254.1.1"} {
		a.pod.run("ip neigh del " + gateway + " dev eth0")
	}
	a.pod.firstPacket("192.0.2.10")
	a.pod.firstPacket("2001:db8:ffff::10")
	a.pod.firstPacket("fe80::1%eth0")
}

func TestForwardingIsSwitchedOnWithCare(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	for _, link := range []string{"static0", "learned0", "leased0", "both0"} {
		n.run("ip link add " + link + " type veth peer name x" + link)
		n.run("ip link set " + link + " up")
		n.run("ip link set x" + link + " up")
	}
	n.setSysctl("ipv6/conf/both0/accept_ra", "0")
	n.run("ip -6 route add default via fe80::9 dev learned0 proto ra metric 512")
	n.run("ip -6 route add default via fe80::9 dev both0 proto ra metric 513")
	n.run("ip -6 addr add 2001:db8:ffff::11/64 dev leased0 nodad valid_lft 3600 preferred_lft 1800")
	n.add(a, a.given(dual))
	for key, want := range map[string]string{
		"ipv4/ip_forward":               "1",
		"ipv6/conf/all/forwarding":      "1",
		"ipv6/conf/static0/accept_ra":   "1", // brought nothing, and so has nothing to lose
		"ipv6/conf/learned0/accept_ra":  "2",
		"ipv6/conf/leased0/accept_ra":   "2",
		"ipv6/conf/both0/accept_ra":     "0", // somebody's decision
		"ipv6/conf/default/accept_ra":   "1",
		"ipv6/conf/learned0/forwarding": "1",
	} {
		if got := n.sysctl(key); got != want {
			t.Errorf("node: %s is %s, want %s", key, got, want)
		}
	}
	if got := n.run("ip -6 route show default dev learned0"); !strings.Contains(got, "proto ra") {
		t.Errorf("the learned default route is gone: %q", got)
	}
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if got := a.pod.sysctl(key); got != "0" {
			t.Errorf("pod: %s is %s, want 0", key, got)
		}
	}
}

// The node forwards, but not by default: a new link has to be told.
func TestForwardingOfTheLink(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		n.setSysctl(key, "1")
	}
	for _, key := range []string{"ipv4/conf/default/forwarding", "ipv6/conf/default/forwarding"} {
		n.setSysctl(key, "0")
	}
	n.setSysctl("ipv6/conf/default/accept_ra", "2")
	n.add(a, a.given(dual))
	for key, want := range map[string]string{
		"ipv4/conf/" + a.hostLink() + "/forwarding": "1",
		"ipv6/conf/" + a.hostLink() + "/forwarding": "1",
		"ipv6/conf/" + a.hostLink() + "/accept_ra":  "0", // else a pod could become the node's router
		"ipv6/conf/default/forwarding":              "0",
	} {
		if got := n.sysctl(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}
