// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/test/cluster"
	"flock.fritzlab.net/flock/test/lab"
)

var (
	anycast6 = netip.MustParseAddr("2001:db8:a::53")
	anycast4 = netip.MustParseAddr("10.98.0.53")
)

// hops is where the router sends an address's packets.
func (s *space) awaitHops(limit time.Duration, a netip.Addr, nodes ...*cluster.Node) time.Duration {
	s.Helper()
	want := map[netip.Addr]bool{}
	for _, n := range nodes {
		want[map[bool]netip.Addr{true: n.Address4, false: n.Address6}[a.Is4()]] = true
	}
	start := time.Now()
	must(s, lab.Within(s.Context(), limit, fmt.Sprintf("the router sends %s to %v", a, slices.Collect(maps.Keys(want))), func() error {
		have, err := site.Router.Hops(a)
		if err == nil && !maps.Equal(have, want) {
			err = fmt.Errorf("it sends it to %v", slices.Collect(maps.Keys(have)))
		}
		return err
	}))
	return time.Since(start)
}

// TestAnycast has one service on two nodes.
func TestAnycast(t *testing.T) {
	s := newSpace(t, "anycast")
	both := annotated("anycast", anycast6.String()+","+anycast4.String())
	s.run("node1", on(site.Nodes[0]), both)
	s.run("node2", on(site.Nodes[1]), both, lingering(20*time.Second)) // more than twice as long as it is used while it ends
	s.run("client", on(site.Nodes[1]))
	pods := s.ready("node1", "node2", "client")
	for _, a := range []netip.Addr{anycast6, anycast4} {
		s.awaitHops(10*time.Second, a, site.Nodes...)
		s.wantAnswers(a, "node1", "node2")
	}
	t.Run("Readiness", func(t *testing.T) { s.in(t).testReadiness(pods[0]) })
	t.Run("Deletion", func(t *testing.T) { s.in(t).testDeletion(pods[1], pods[2]) })
	s.run("node2", on(site.Nodes[1]), both)
	s.ready("node2")
	s.awaitHops(10*time.Second, anycast6, site.Nodes...)
	t.Run("DeadNode", func(t *testing.T) { s.in(t).testDeadNode() })
}

// wantAnswers asks an address from the router, by connections that differ in their ports, and wants each of the pods to
// answer and no other.
func (s *space) wantAnswers(a netip.Addr, names ...string) {
	s.Helper()
	count := map[string]int{}
	for range 100 {
		name, err := site.Router.Ask(s.Context(), "tcp", netip.AddrPortFrom(a, tcpPort))
		must(s, err)
		count[name]++
	}
	if !slices.Equal(slices.Sorted(maps.Keys(count)), names) {
		s.Errorf("%s is answered by %v, want all of %v", a, count, names)
	}
	s.Logf("100 connections to %s are answered by %v", a, count)
}

// testReadiness lets a probe fail, and succeed again.
func (s *space) testReadiness(pod *corev1.Pod) {
	own := addresses(pod)[0]
	for _, change := range []struct {
		path  string
		nodes []*cluster.Node
	}{{"/unready", site.Nodes[1:]}, {"/ready", site.Nodes}} {
		probed := make(chan time.Time, 1)
		s.tell(own, http.MethodPost, change.path)
		start := time.Now()
		go func() { probed <- s.awaitReadiness(pod.Name, change.path == "/ready") }()
		s.awaitHops(30*time.Second, anycast6, change.nodes...)
		moved := time.Now()
		s.awaitHops(5*time.Second, anycast4, change.nodes...) // half the time between two of BIRD's scans
		s.Logf("POST %s: the router follows after %s, %s after the pod's status shows it", change.path,
			moved.Sub(start).Round(time.Millisecond), moved.Sub(<-probed).Round(time.Millisecond))
	}
}

// awaitReadiness returns when the API server tells that the pod is ready, or is not.
func (s *space) awaitReadiness(name string, ready bool) time.Time {
	for {
		pod, err := s.get(name)
		if err == nil && isReady(pod) == ready || s.Context().Err() != nil {
			return time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// testDeletion deletes a pod that serves for a while longer: what it serves on its own node goes on, and the router sends
// nothing more.
func (s *space) testDeletion(pod, client *corev1.Pod) {
	conn := s.dial(site.Nodes[1], anycast4)
	defer conn.Close()
	s.startFlows(addresses(client)[0], anycast6, anycast4)
	start := time.Now()
	must(s, s.api.Delete().Namespace(s.name).Resource("pods").Name(pod.Name).Do(s.Context()).Error())
	s.awaitHops(5*time.Second, anycast6, site.Nodes[0])
	s.Logf("the router follows %s after the request to delete the pod", time.Since(start).Round(time.Millisecond))
	s.wantAnswers(anycast6, "node1")
	s.drain(conn, start.Add(8*time.Second))
	for _, count := range s.stopFlows(addresses(client)[0]) {
		if count.Lost > 0 {
			s.Errorf("while it ended: %s", count)
		}
		s.Log(count)
	}
	s.within(endLimit, "the pod is gone", func() error {
		if _, err := s.get(pod.Name); err == nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
}

// dial opens a connection to testpod from a node.
func (s *space) dial(n *cluster.Node, to netip.Addr) net.Conn {
	s.Helper()
	var conn net.Conn
	must(s, n.Netns.Do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(s.Context(), "tcp", netip.AddrPortFrom(to, tcpPort).String())
		return err
	}))
	return conn
}

// drain uses a connection until then.
func (s *space) drain(conn net.Conn, until time.Time) {
	s.Helper()
	r := bufio.NewReader(conn)
	name, err := r.ReadString('\n')
	must(s, err)
	lines := 0
	for ; time.Now().Before(until); lines++ {
		must(s, conn.SetDeadline(time.Now().Add(2*time.Second)))
		_, err := io.WriteString(conn, "still?\n")
		must(s, err)
		_, err = r.ReadString('\n')
		must(s, err)
		time.Sleep(50 * time.Millisecond)
	}
	s.Logf("a connection to %.5s served %d requests meanwhile", name, lines)
}

// silence drops every packet between the router and the node, whose link stays up: so a dead node looks to a router with
// a switch between. The returned function ends it.
func silence(ctx context.Context, n *cluster.Node) (func() error, error) {
	rules := fmt.Sprintf(`table inet silence {
	chain in { type filter hook prerouting priority -400; iifname %[1]s drop; }
	chain out { type filter hook postrouting priority 400; oifname %[1]s drop; }
}`, n.Name)
	_, err := site.Router.Run(ctx, "nft", rules)
	return func() error {
		_, err := site.Router.Run(context.Background(), "nft", "delete table inet silence")
		return err
	}, err
}

// testDeadNode measures for how long some callers get no answer after a node died: as long as the router takes to notice,
// by the hold time of 15 seconds and by BFD.
func (s *space) testDeadNode() {
	s.measureDeadNode("hold time of 15s", 15*time.Second)
	patch := `[{"op":"add","path":"/spec/bgp/peers/0/bfd","value":"immediate"},{"op":"add","path":"/spec/bgp/peers/1/bfd","value":"immediate"}]`
	for _, n := range site.Nodes {
		s.kubectl("patch", "nodeconfig", n.Name, "--type=json", "--patch="+patch)
	}
	defer func() { must(s, site.InstallFlock(s.Context(), one)) }()
	s.within(time.Minute, "BFD sessions are up", func() error {
		out, err := site.Router.AskBird(s.Context(), "show bfd sessions")
		if up := strings.Count(out, " Up "); err == nil && up != 4 {
			err = fmt.Errorf("%d are:\n%s", up, out)
		}
		return err
	})
	s.awaitHops(30*time.Second, anycast6, site.Nodes...)
	s.measureDeadNode("BFD", 3*time.Second)
}

func (s *space) measureDeadNode(by string, limit time.Duration) {
	end, err := silence(s.Context(), site.Nodes[1])
	must(s, err)
	start := time.Now()
	s.awaitHops(limit+2*time.Second, anycast6, site.Nodes[0])
	s.awaitHops(limit+2*time.Second, anycast4, site.Nodes[0])
	s.Logf("a node died: the router moves traffic after %s, by %s", time.Since(start).Round(time.Millisecond), by)
	s.wantAnswers(anycast6, "node1")
	must(s, end())
	s.Logf("the node is back: the router uses it after %s", s.awaitHops(time.Minute, anycast6, site.Nodes...).Round(time.Millisecond))
	s.awaitHops(time.Minute, anycast4, site.Nodes...)
}
