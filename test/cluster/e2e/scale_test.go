// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/test/cluster"
)

var rounds = flag.Int("rounds", 2, "how often TestScale compares")

// perNode is how many pods a node gets at once.
const perNode = 100

// TestScale makes many pods at once on each node and deletes them at once, with flock and with the reference plugins,
// which have IPv4 alone. Afterwards the nodes have what they had.
func TestScale(t *testing.T) {
	measure := func(name string) measured {
		s := newSpace(t, name)
		before := map[*cluster.Node][]string{}
		for _, n := range site.Nodes {
			before[n] = inventory(s, n)
		}
		m := s.measureScale()
		for _, n := range site.Nodes {
			s.wantInventory(n, before[n])
		}
		return m
	}
	defer func() { must(t, site.ForgetPtp(context.Background())) }()
	for round := range *rounds { // what comes first may have cold caches
		must(t, site.ForgetPtp(t.Context()))
		t.Logf("flock, dual-stack:      %s", measure(fmt.Sprint("scale-flock-", round)))
		must(t, site.UsePtp(t.Context(), cluster.BeforeFlock, false))
		t.Logf("ptp + host-local, IPv4: %s", measure(fmt.Sprint("scale-ptp-", round)))
	}
}

// measured are the times of one round, and what containerd took for CNI for all pods together.
type measured struct {
	ready, gone time.Duration
	add, del    cniTime
	// daemons is the processor time that flock's took meanwhile.
	daemons time.Duration
}

// cniTime is how often containerd ran a conflist, and for how long in all.
type cniTime struct {
	count int
	sum   time.Duration
}

func (c cniTime) String() string {
	return fmt.Sprintf("%d of %s each", c.count, (c.sum / time.Duration(max(1, c.count))).Round(100*time.Microsecond))
}

func (m measured) String() string {
	return fmt.Sprintf("%d pods on %d nodes all Ready after %.1f s, all gone after %.1f s; CNI ADD %s, DEL %s; flock's daemons took %.1f s",
		perNode*len(site.Nodes), len(site.Nodes), m.ready.Seconds(), m.gone.Seconds(), m.add, m.del, m.daemons.Seconds())
}

func (s *space) measureScale() (m measured) {
	add, del, daemons := s.cniTime("set_up_pod"), s.cniTime("tear_down_pod"), s.daemonTime()
	start := time.Now()
	for _, n := range site.Nodes {
		for i := range perNode {
			s.run(fmt.Sprintf("%s-%d", n.Name, i), on(n), unprobed)
		}
	}
	s.within(10*time.Minute, "all pods are Ready", func() error {
		ready := 0
		for _, pod := range s.list() {
			if isReady(&pod) {
				ready++
			}
		}
		if ready < perNode*len(site.Nodes) {
			return fmt.Errorf("%d are", ready)
		}
		return nil
	})
	m.ready = time.Since(start)
	s.wantDistinct(s.list())
	start = time.Now()
	must(s, s.api.Delete().Namespace(s.name).Resource("pods").Do(s.Context()).Error())
	s.within(10*time.Minute, "all pods are gone", func() error {
		if left := len(s.list()); left > 0 {
			return fmt.Errorf("%d are not", left)
		}
		return nil
	})
	m.gone = time.Since(start)
	m.add, m.del, m.daemons = s.cniTime("set_up_pod").since(add), s.cniTime("tear_down_pod").since(del), s.daemonTime()-daemons
	return m
}

// unprobed takes the probes from a pod: what 200 pods' cost is not the network's.
func unprobed(p *corev1.Pod) {
	p.Spec.Containers[0].ReadinessProbe, p.Spec.Containers[0].LivenessProbe = nil, nil
}

func (s *space) list() []corev1.Pod {
	s.Helper()
	pods := &corev1.PodList{}
	must(s, s.api.Get().Namespace(s.name).Resource("pods").Do(s.Context()).Into(pods))
	return pods.Items
}

// wantDistinct wants no address twice.
func (s *space) wantDistinct(pods []corev1.Pod) {
	s.Helper()
	owner := map[corev1.PodIP]metav1.ObjectMeta{}
	for _, pod := range pods {
		for _, ip := range pod.Status.PodIPs {
			if other, taken := owner[ip]; taken {
				s.Errorf("%s and %s have %s", pod.Name, other.Name, ip.IP)
			}
			owner[ip] = pod.ObjectMeta
		}
	}
}

func (c cniTime) since(before cniTime) cniTime {
	return cniTime{c.count - before.count, c.sum - before.sum}
}

// cniTime returns what the nodes' containerds have taken for an operation, by their metrics.
func (s *space) cniTime(operation string) (total cniTime) {
	s.Helper()
	const name = "containerd_cri_network_plugin_operations_duration_seconds_seconds_"
	for _, n := range site.Nodes {
		metrics, err := request(s.Context(), n.Netns, http.MethodGet, "http://"+cluster.ContainerdMetrics)
		must(s, err)
		for line := range strings.Lines(metrics) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
			number, _ := strconv.ParseFloat(value, 64)
			switch key {
			case name + `count{operation_type="` + operation + `"`:
				total.count += int(number)
			case name + `sum{operation_type="` + operation + `"`:
				total.sum += time.Duration(number * float64(time.Second))
			}
		}
	}
	return total
}

// daemonTime returns the processor time that flock's daemons and their BIRDs have taken on all nodes.
func (s *space) daemonTime() (total time.Duration) {
	s.Helper()
	for _, n := range site.Nodes {
		for _, words := range [][]string{{"ipamd", "run"}, {"birdd", "run"}, {"birdd", "bird"}, {"bird"}} {
			pids, err := n.Find(words...)
			must(s, err)
			for _, pid := range pids {
				total += processorTime(s, pid)
			}
		}
	}
	return total
}

// processorTime reads the fields utime and stime of proc(5), in hundredths of a second.
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, fields, _ := strings.Cut(string(stat), ") ")
	var total time.Duration
	for _, field := range strings.Fields(fields)[11:13] {
		ticks, err := strconv.Atoi(field)
		must(t, err)
		total += time.Duration(ticks) * 10 * time.Millisecond
	}
	return total
}
