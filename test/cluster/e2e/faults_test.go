// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/test/cluster"
)

// TestFaults breaks what a node runs while traffic flows from a pod and from the router to pods of both nodes.
func TestFaults(t *testing.T) {
	s := newSpace(t, "faults")
	before := map[*cluster.Node][]string{}
	for _, n := range site.Nodes {
		before[n] = inventory(s, n)
		s.run(n.Name, on(n), annotated("anycast", fmt.Sprintf("2001:db8:a::%d,10.98.0.%[1]d", n.Number)))
	}
	s.run("client", on(site.Nodes[0]))
	pods := s.ready("client", "node1", "node2")
	n := site.Nodes[1]
	for _, fault := range []struct {
		name string
		do   func(*space)
		// unready says that Kubernetes declares the pods unready for a while, and so their anycast addresses are withdrawn: a
		// kubelet that starts until it has probed them, the controller manager because the node did not answer.
		unready bool
	}{
		{"Kubelet", func(s *space) { s.restart(n, "kubelet") }, true},
		{"Containerd", func(s *space) { s.restart(n, "containerd") }, false},
		{"Ipamd", func(s *space) { s.crash(n, "ipamd", "run") }, false},
		{"Birdd", func(s *space) { s.crash(n, "birdd", "run") }, false},
		{"Bird", func(s *space) { s.crash(n, "bird") }, false},
		{"Upgrade", func(s *space) { s.roll(two) }, false},
		{"Downgrade", func(s *space) { s.roll(one) }, false},
		{"APIServer", (*space).withoutAPI, true},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s := s.in(t)
			traffic := s.startTraffic(pods[0], pods[1:]...)
			fault.do(s)
			var excused []netip.Addr
			if fault.unready {
				excused = append(anycast(pods[1]), anycast(pods[2])...)
			}
			traffic.wantWhole(excused...)
		})
	}
	t.Run("Reboot", func(t *testing.T) { s.in(t).testReboot(n, pods) })
	s.remove("client", "node1", "node2")
	for _, n := range site.Nodes {
		s.wantInventory(n, before[n])
	}
}

// restart kills a daemon of the node's and starts it again.
func (s *space) restart(n *cluster.Node, daemon string) {
	s.Helper()
	must(s, n.Signal(daemon, syscall.SIGKILL))
	must(s, n.Start(s.Context(), daemon))
	s.wantPods(n)
}

// crash kills one of flock's processes, and waits until there is another and flock is ready.
func (s *space) crash(n *cluster.Node, words ...string) { s.replace(n, syscall.SIGKILL, words...) }

func (s *space) replace(n *cluster.Node, by syscall.Signal, words ...string) {
	s.Helper()
	old, err := n.Find(words...)
	must(s, err)
	if len(old) != 1 {
		s.Fatalf("%q are the processes %v of %s, want one", words, old, n.Name)
	}
	must(s, syscall.Kill(old[0], by))
	start := time.Now()
	s.within(time.Minute, "there is another", func() error {
		now, err := n.Find(words...)
		if err == nil && (len(now) != 1 || now[0] == old[0]) {
			err = fmt.Errorf("there are %v", now)
		}
		return err
	})
	s.Logf("there is another after %s", time.Since(start).Round(time.Millisecond))
	s.wantPods(n)
	s.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "nodeconfig", n.Name)
}

// roll installs a release, and makes pods on both nodes all the while.
func (s *space) roll(r cluster.Release) {
	s.Helper()
	done := make(chan error, 1)
	start := time.Now()
	go func() { done <- site.InstallFlock(s.Context(), r) }()
	for made := 0; ; made++ {
		select {
		case err := <-done:
			must(s, err)
			s.Logf("flock is rolled out after %s, and %d pods came and went meanwhile", time.Since(start).Round(time.Second), made)
			return
		default:
			s.wantPods(site.Nodes[made%len(site.Nodes)])
		}
	}
}

// withoutAPI kills the API server for a minute.
func (s *space) withoutAPI() {
	must(s, site.StopAPI())
	time.Sleep(time.Minute)
	must(s, site.StartAPI(s.Context()))
	for _, n := range site.Nodes {
		s.wantPods(n)
	}
	must(s, site.AwaitReady(s.Context()))
}

// testReboot stops a node as by loss of power and starts it again. Its pods come back, and it has nothing of those
// that it had.
func (s *space) testReboot(n *cluster.Node, pods []*corev1.Pod) {
	traffic := s.startTraffic(pods[0], pods[1])
	must(s, n.Halt(s.Context()))
	start := time.Now()
	must(s, n.Boot(s.Context()))
	var again *corev1.Pod
	s.within(startLimit, "the pod is back", func() error {
		pod, err := s.get(pods[2].Name)
		if err == nil && (!isReady(pod) || pod.Status.ContainerStatuses[0].RestartCount == 0) {
			err = fmt.Errorf("it is %s", pod.Status.Phase)
		}
		again = pod
		return err
	})
	s.Logf("the pod is Ready %s after the node was switched on", time.Since(start).Round(time.Millisecond))
	for _, a := range addresses(again) {
		s.ping(a)
	}
	traffic.wantWhole()
	count := 0
	for _, line := range inventory(s, n) {
		if strings.HasPrefix(line, "allocation: ") {
			count++
		}
	}
	if count != 1 {
		s.Errorf("the node has %d allocations, and one pod", count)
	}
}
