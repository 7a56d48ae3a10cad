// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/test/lab"
)

// Addresses outside every pool of the lab.
const (
	fixed6, fixed4     = "2001:db8:f::80", "10.80.0.80"
	anycast6, anycast4 = "2001:db8:a::53", "10.53.0.53"
)

const prefix = "flock.fritzlab.net/"

var (
	fixed   = map[string]string{prefix + "addresses": fixed6 + "," + fixed4}
	anycast = map[string]string{prefix + "anycast": anycast6 + "," + anycast4}
)

// newRouted builds a lab where BIRD and birdd run and flock is installed, with more flags of its
// installer, and waits until the router forwards every pool.
func newRouted(t *testing.T, o lab.Options, flags ...string) *lab.Lab {
	t.Helper()
	l := newLab(t, o)
	check(t, l.StartRouting(t.Context()))
	for _, n := range l.Nodes {
		check(t, n.Install(t.Context(), append(flags, "--anycast", "immediate")...))
	}
	return l
}

// newSingle builds a lab of one node without BGP; its default route is set by hand.
func newSingle(t *testing.T, o lab.Options, flags ...string) *lab.Node {
	t.Helper()
	o.Nodes = 1
	l := newLab(t, o)
	n := l.Nodes[0]
	script(t, n.Netns, "ip route add default via fd00:1::1\nip route add default via 10.0.1.1\n")
	script(t, l.Router.Netns, "ip route add 2001:db8:1::/64 via fd00:1::2\nip route add 10.244.1.0/24 via 10.0.1.2\n")
	check(t, n.Install(t.Context(), append(flags, "--anycast", "immediate")...))
	return n
}

// attach makes a pod on the node and runs ADD for it.
func attach(t *testing.T, n *lab.Node, name string, annotations map[string]string) *lab.Pod {
	t.Helper()
	p := newPod(t, n, name, annotations)
	check(t, n.Runtime.Add(t.Context(), p))
	return p
}

// detach runs DEL for the pods.
func detach(t *testing.T, n *lab.Node, pods ...*lab.Pod) {
	t.Helper()
	for _, p := range pods {
		check(t, n.Runtime.Del(t.Context(), p))
	}
}

// wantHops waits until the router reaches both addresses through exactly these nodes.
func wantHops(t *testing.T, r *lab.Router, addresses []string, nodes ...*lab.Node) {
	t.Helper()
	for _, a := range addresses {
		check(t, r.AwaitHops(t.Context(), within, netip.MustParseAddr(a), nodes...))
	}
}

// TestTopology is the demo as a test.
func TestTopology(t *testing.T) {
	t.Parallel()
	l := newRouted(t, lab.Options{Nodes: 2})
	first, second := l.Nodes[0], l.Nodes[1]
	before := [][]string{state(t, first), state(t, second)}

	var pods []*lab.Pod
	from := []*lab.Netns{l.Router.Netns}
	for _, n := range l.Nodes {
		for i := range 3 {
			p := attach(t, n, fmt.Sprintf("%s-web%d", n.Name, i), nil)
			pods, from = append(pods, p), append(from, p.Netns)
		}
	}
	wantPings(t, from, pods...)
	wantSummariesAlone(t, l)

	pod := attach(t, first, "fixed", fixed)
	wantHops(t, l.Router, []string{fixed6, fixed4}, first)
	wantPings(t, from, pod)
	detach(t, first, pod)
	wantHops(t, l.Router, []string{fixed6, fixed4})

	testAnycast(t, l)

	detach(t, first, pods[:3]...)
	detach(t, second, pods[3:]...)
	wantUnchanged(t, first, before[0])
	wantUnchanged(t, second, before[1])
}

// wantSummariesAlone wants every pool and no host route in what the router got by BGP.
func wantSummariesAlone(t *testing.T, l *lab.Lab) {
	t.Helper()
	routes, err := l.Router.Bird.Ask(t.Context(), "show route where source = RTS_BGP")
	check(t, err)
	for _, n := range l.Nodes {
		for _, pool := range []netip.Prefix{n.Pool6, n.Pool4} {
			if !strings.Contains(routes, pool.String()) {
				t.Errorf("%s is not in the router's BGP table", pool)
			}
		}
	}
	if own := regexp.MustCompile(`\S+/(128|32)\b`).FindString(routes); own != "" {
		t.Errorf("%s is in the router's BGP table, which a summary covers", own)
	}
}

// testAnycast attaches a pod with the same addresses on two nodes, and detaches one after the other.
func testAnycast(t *testing.T, l *lab.Lab) {
	t.Helper()
	shared := []string{anycast6, anycast4}
	var pods []*lab.Pod
	for _, n := range l.Nodes {
		p := attach(t, n, n.Name+"-dns", anycast)
		service, err := p.Serve(t.Context(), n.Name, 53, netip.MustParseAddr(anycast6), netip.MustParseAddr(anycast4))
		check(t, err)
		t.Cleanup(func() { service.Close() })
		pods = append(pods, p)
	}
	wantHops(t, l.Router, shared, l.Nodes...)
	wantAnswers(t, l, "node1", "node2")
	detach(t, l.Nodes[0], pods[0])
	wantHops(t, l.Router, shared, l.Nodes[1])
	wantAnswers(t, l, "node2")
	detach(t, l.Nodes[1], pods[1])
	wantHops(t, l.Router, shared)
}

// wantAnswers asks the anycast addresses from many ports and wants answers of exactly these nodes' pods.
func wantAnswers(t *testing.T, l *lab.Lab, want ...string) {
	t.Helper()
	for _, a := range []string{anycast6, anycast4} {
		for _, network := range []string{"udp", "tcp"} {
			var answers []string
			for range 24 {
				name, err := l.Router.Ask(t.Context(), network, netip.AddrPortFrom(netip.MustParseAddr(a), 53))
				check(t, err)
				answers = append(answers, name)
			}
			slices.Sort(answers)
			if got := slices.Compact(answers); !slices.Equal(got, want) {
				t.Errorf("%s over %s is answered by %v, want %v", a, network, got, want)
			}
		}
	}
}

// TestReflectedAddresses has the router send each node the single addresses that the other announces: a pod
// wins over the way to another node's, that is there before it and after it.
func TestReflectedAddresses(t *testing.T) {
	t.Parallel()
	l := newRouted(t, lab.Options{Nodes: 2})
	first, second := l.Nodes[0], l.Nodes[1]
	acceptHosts(t, second)
	for name, annotations := range map[string]map[string]string{"anycast": anycast, "fixed": fixed} {
		var addresses []netip.Addr
		for _, list := range annotations {
			for a := range strings.SplitSeq(list, ",") {
				addresses = append(addresses, netip.MustParseAddr(a))
			}
		}
		here := attach(t, first, name+"-here", annotations)
		awaitReflected(t, second, addresses...)
		before := state(t, second)

		there := attach(t, second, name+"-there", annotations)
		check(t, second.Runtime.Check(t.Context(), there))
		service, err := there.Serve(t.Context(), "there", 53, addresses...)
		check(t, err)
		for _, a := range addresses {
			if who, err := second.Ask(t.Context(), "udp", netip.AddrPortFrom(a, 53)); err != nil || who != "there" {
				t.Errorf("%s is answered by %q on the node itself (%v)", a, who, err)
			}
			check(t, l.Router.AwaitHops(t.Context(), within, a, first, second))
		}
		check(t, service.Close())
		detach(t, second, there)
		awaitReflected(t, second, addresses...)
		wantUnchanged(t, second, before)
		detach(t, first, here)
	}
}

// acceptHosts has the node take single addresses from the router too.
func acceptHosts(t *testing.T, n *lab.Node) {
	t.Helper()
	text, err := os.ReadFile(n.NodeConfigFile())
	check(t, err)
	const all = `, importAccept: [{cidr: "::/0", maxLength: 128}, {cidr: 0.0.0.0/0, maxLength: 32}]}`
	peer := fmt.Sprintf("peerASN: %d", lab.RouterASN)
	check(t, os.WriteFile(n.NodeConfigFile(), []byte(strings.ReplaceAll(string(text), peer+"}", peer+all)), 0o644))
}

// awaitReflected waits until the node reaches the addresses through the router.
func awaitReflected(t *testing.T, n *lab.Node, addresses ...netip.Addr) {
	t.Helper()
	for _, a := range addresses {
		check(t, lab.Within(t.Context(), within, fmt.Sprintf("%s reaches %s through the router", n.Name, a), func() error {
			hops, err := n.Hops(a)
			if err == nil && !hops[n.Router6] && !hops[n.Router4] {
				err = fmt.Errorf("its next hops are %v", hops)
			}
			return err
		}))
	}
}
