// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/cluster"
)

// component returns the folder of one of deploy's components.
func component(name string) string { return filepath.Join(filepath.Dir(one.Base), "components", name) }

// install rolls flock out with components.
func (s *space) install(components ...string) {
	s.Helper()
	with := one
	for _, name := range components {
		with.Components = append(with.Components, component(name))
	}
	must(s, site.InstallFlock(s.Context(), with))
}

// restore has flock be as it was when the test ends, whose own context is over by then.
func (s *space) restore() {
	s.Cleanup(func() {
		for _, n := range site.Nodes {
			_, err := site.Kubectl(context.Background(), "patch", "nodeconfig", n.Name, "--type=json", `--patch=[{"op":"add","path":"/spec/bgp/speaker","value":"bird"}]`)
			must(s, err)
		}
		must(s, site.InstallFlock(context.Background(), one))
	})
}

// sticky is a pool that both nodes have.
var sticky = netip.MustParsePrefix("2001:db8:5::/64")

// TestSticky has a pod of a StatefulSet move from node to node with its address, and to a dead node's neighbour once
// somebody has said that the node is off.
func TestSticky(t *testing.T) {
	s := newSpace(t, "sticky")
	s.restore()
	s.install("sticky")
	for _, n := range site.Nodes {
		s.kubectl("patch", "nodeconfig", n.Name, "--type=json", fmt.Sprintf(
			`--patch=[{"op":"add","path":"/spec/pools/-","value":{"name":"sticky6","cidr":"%s","allocator":"sticky","announce":"addresses"}}]`, sticky))
	}
	first, second := site.Nodes[0], site.Nodes[1]
	s.apply(statefulSet(first))
	a := s.stickyAddress()
	s.awaitHops(10*time.Second, a, first)

	start := time.Now()
	s.apply(statefulSet(second))
	s.awaitHops(startLimit, a, second)
	s.ready("db-0")
	if now := s.stickyAddress(); now != a {
		t.Fatalf("db-0 had %s on %s and has %s on %s", a, first.Name, now, second.Name)
	}
	s.ping(a)
	t.Logf("db-0 is on the other node with %s after %s", a, time.Since(start).Round(time.Millisecond))
	s.moveFromDead(second, first, a)
	s.kubectl("delete", "statefulset", "db", "--cascade=foreground", "--timeout=120s")
	s.kubectl("delete", "stickyaddresses", "--all", "--timeout=120s")
}

// moveFromDead stops a node dead and has the pod made anew on another: it gets its address when the node is declared
// off, and not before.
func (s *space) moveFromDead(from, to *cluster.Node, a netip.Addr) {
	s.Helper()
	must(s, from.Halt(s.Context()))
	s.apply(statefulSet(to))
	s.kubectl("delete", "pod", "db-0", "--force", "--grace-period=0")
	s.within(startLimit, "the pod's Event names who has its address", func() error {
		events := s.kubectl("get", "events", "--field-selector=involvedObject.name=db-0,reason=FailedCreatePodSandBox", "-o", "jsonpath={.items[*].message}")
		if !strings.Contains(events, a.String()) || !strings.Contains(events, from.Name) {
			return fmt.Errorf("they say %q", events)
		}
		return nil
	})
	if pod, err := s.get("db-0"); err != nil || isReady(pod) || len(pod.Status.PodIPs) > 0 {
		s.Fatalf("the pod has addresses while %s may have them: %v, %v", from.Name, pod, err)
	}
	start := time.Now()
	const outOfService = "node.kubernetes.io/out-of-service"
	s.kubectl("taint", "node", from.Name, outOfService+"=off:NoExecute")
	if now := s.stickyAddress(); now != a {
		s.Errorf("db-0 had %s and has %s", a, now)
	}
	s.awaitHops(10*time.Second, a, to)
	s.ping(a)
	s.Logf("db-0 is Ready with its address %s after its node was declared off", time.Since(start).Round(time.Millisecond))
	must(s, from.Boot(s.Context()))
	s.kubectl("taint", "node", from.Name, outOfService+"-")
	must(s, site.AwaitReady(s.Context()))
	s.awaitHops(10*time.Second, a, to)
}

// statefulSet returns one of a pod that wants an address of the sticky pool, on the node.
func statefulSet(n *cluster.Node) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata:
      labels: {app: db}
      annotations: {flock.fritzlab.net/cidr6: "%s"}
    spec:
      nodeName: %s
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers:
      - name: testpod
        image: %s
        readinessProbe: {httpGet: {path: /ready, port: %d}, periodSeconds: 1}
`, sticky, n.Name, cluster.PodImage, httpPort)
}

// stickyAddress returns the address of the sticky pool that the pod has once it is ready.
func (s *space) stickyAddress() netip.Addr {
	s.Helper()
	for _, a := range addresses(s.ready("db-0")[0]) {
		if sticky.Contains(a) {
			return a
		}
	}
	s.Fatalf("db-0 has no address of %s", sticky)
	return netip.Addr{}
}

// TestGoBGP moves both nodes from BIRD to GoBGP, takes BIRD away, and breaks what runs the speaker.
func TestGoBGP(t *testing.T) {
	s := newSpace(t, "gobgp")
	for _, n := range site.Nodes {
		s.run(n.Name, on(n), annotated("anycast", anycast6.String()+","+anycast4.String()))
	}
	s.run("client", on(site.Nodes[0]))
	pods := s.ready("client", "node1", "node2")
	s.restore()
	s.install("gobgp")
	traffic := s.startTraffic(pods[0], pods[2])
	s.speakBy("gobgp", "GoBGP ")
	t.Logf("while nodes moved to GoBGP: %v", traffic.stop())
	s.install("gobgp", "no-bird")
	for _, a := range []netip.Addr{anycast6, anycast4} {
		s.awaitHops(10*time.Second, a, site.Nodes...)
		s.wantAnswers(a, "node1", "node2")
	}
	n := site.Nodes[1]
	for _, fault := range []struct {
		name string
		do   func(*space)
	}{
		{"Birdd", func(s *space) { s.crash(n, "birdd", "run") }},
		{"Speaker", func(s *space) { s.crash(n, "speaker-gobgp") }},
		{"Container", func(s *space) { s.replace(n, syscall.SIGTERM, "birdd", "speaker") }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s := s.in(t)
			traffic := s.startTraffic(pods[0], pods[1:]...)
			fault.do(s)
			traffic.wantWhole()
		})
	}
}

// speakBy has each node speak BGP by the speaker, one node after the other. version is how the speaker's begins.
func (s *space) speakBy(speaker, version string) {
	s.Helper()
	for _, n := range site.Nodes {
		s.kubectl("patch", "nodeconfig", n.Name, "--type=merge", fmt.Sprintf(`--patch={"spec":{"bgp":{"speaker":%q}}}`, speaker))
		pod := s.kubectl("get", "pods", "--namespace=flock-system", "--field-selector=spec.nodeName="+n.Name, "-o", "name")
		s.within(time.Minute, n.Name+" has both sessions by "+speaker, func() error {
			status, err := site.Kubectl(s.Context(), "exec", "--namespace=flock-system", strings.TrimSpace(pod), "-c", "birdd", "--", "birdd", "status")
			if err != nil {
				return err
			}
			if !strings.HasPrefix(status, version) || strings.Count(status, "Established") != 2 {
				return fmt.Errorf("birdd status:\n%s", status)
			}
			return nil
		})
	}
}
