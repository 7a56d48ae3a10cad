// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/test/cluster"
	"flock.fritzlab.net/flock/test/lab"
)

// TestUninstall goes the way of docs/uninstall.md while pods run, and back.
func TestUninstall(t *testing.T) {
	s := newSpace(t, "uninstall")
	for _, n := range site.Nodes {
		s.run(n.Name, on(n))
	}
	s.run("client", on(site.Nodes[0]))
	pods := s.ready("client", "node1", "node2")
	traffic := s.startTraffic(pods[0], pods[1:]...)
	must(t, site.UsePtp(t.Context(), cluster.AfterFlock, true))
	retired := one
	retired.Components, retired.HostPorts = []string{component("retire")}, false
	must(t, site.InstallFlock(t.Context(), retired))
	s.run("new", on(site.Nodes[1]))
	s.wantOther(s.ready("new")[0])
	traffic.wantWhole()

	s.remove("client", "node1", "node2")
	for _, n := range site.Nodes {
		s.within(endLimit, "flock has no address given out on "+n.Name, func() error { return noAllocations(n) })
	}
	start := time.Now()
	must(t, site.RemoveFlock(t.Context()))
	t.Logf("kubectl delete -k took %s", time.Since(start).Round(time.Millisecond))
	s.run("last", on(site.Nodes[0]))
	s.wantOther(s.ready("last")[0])
	s.remove("new", "last")
	must(t, site.ForgetPtp(t.Context()))
	must(t, site.InstallFlock(t.Context(), one))
	s.wantPods(site.Nodes[0])
}

// wantOther wants the pod to have no address of flock's, and to be reached.
func (s *space) wantOther(pod *corev1.Pod) {
	s.Helper()
	for _, a := range addresses(pod) {
		for _, n := range site.Nodes {
			if n.Pool4.Contains(a) || n.Pool6.Contains(a) {
				s.Errorf("%s has %s of flock's", pod.Name, a)
			}
		}
		s.ping(a)
	}
}

func noAllocations(n *cluster.Node) error {
	root, err := n.Root()
	if err != nil {
		return err
	}
	allocations, err := lab.Allocations(filepath.Join(root, "run/flock"))
	if err == nil && len(allocations) > 0 {
		err = fmt.Errorf("it has %q", allocations)
	}
	return err
}
