// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

// What a daemon may cost, on a node with so many pods.
const (
	manyMore    = 500
	memoryLimit = 40 // MB
	statusRest  = 5 * time.Second
)

// TestCost fills a node with pods, each with an anycast address, and lets their readiness change: it measures the
// daemons' memory and what they ask of the API server.
func TestCost(t *testing.T) {
	api := apiserver.New(t)
	s := newSite(t, api, options{pool4: "10.244.0.0/22", ipamd: []string{"--interval", "30s"}})
	pods := make([]*pod, manyMore)
	for i := range pods {
		pods[i] = s.newPod(fmt.Sprintf("web-%d", i), annotations{"anycast": anycastOf(i)})
	}
	inTurns(t, pods, s.add)
	inTurns(t, pods, func(p *pod) error { s.api.SetReady(t, p.object, true); return nil })
	for i := range pods {
		s.awaitAnnounced(true, anycastOf(i))
	}
	s.churn(pods[:50], 4*statusRest)
	daemons := map[string]*lab.Process{"ipamd": s.Ipamd, "flock-birdd/": s.Birdd}
	for agent, p := range daemons {
		wantMemory(t, agent, p)
		wantTwoWatches(t, api, agent)
		wantRareStatus(t, api, agent)
	}
	s.wantQuiet("ipamd", "flock-birdd/")
}

func anycastOf(i int) string { return fmt.Sprintf("2001:db8:a::%x", i+1) }

// inTurns calls fn for every pod, a few at once.
func inTurns(t *testing.T, pods []*pod, fn func(*pod) error) {
	t.Helper()
	const atOnce = 10
	for len(pods) > 0 {
		n := min(atOnce, len(pods))
		check(t, all(pods[:n], fn))
		pods = pods[n:]
	}
}

// churn lets the readiness of the pods change for a while; they are ready at the end.
func (s *site) churn(pods []*pod, d time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, ready := range []bool{false, true} {
			for _, p := range pods {
				s.api.SetReady(s.t, p.object, ready)
			}
			s.awaitAnnounced(ready, pods[0].object.Annotations["flock.fritzlab.net/anycast"])
		}
	}
}

// wantMemory bounds what the kernel says is resident.
func wantMemory(t *testing.T, name string, p *lab.Process) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	check(t, err)
	var now, peak int
	for line := range strings.Lines(string(status)) {
		switch fields := strings.Fields(line); fields[0] {
		case "VmRSS:":
			now, err = strconv.Atoi(fields[1])
		case "VmHWM:":
			peak, err = strconv.Atoi(fields[1])
		}
		check(t, err)
	}
	t.Logf("%s: %.1f MB resident with %d pods, %.1f MB at most", name, float64(now)/1000, manyMore, float64(peak)/1000)
	if now == 0 || now > memoryLimit*1000 {
		t.Errorf("%s has %d kB resident, want %d MB at most", name, now, memoryLimit)
	}
}

func wantTwoWatches(t *testing.T, api *apiserver.Server, agent string) {
	t.Helper()
	watches := api.Watches(t, agent)
	if len(watches) != 2 {
		t.Errorf("%s has %d watches, want 2: %v", agent, len(watches), watches)
	}
	for _, w := range watches {
		t.Logf("%s watches %s", agent, w.URI)
	}
}

// wantRareStatus wants that no two writes of the status are closer than allowed; the clock that counts is the server's.
func wantRareStatus(t *testing.T, api *apiserver.Server, agent string) {
	t.Helper()
	const jitter = 100 * time.Millisecond
	var last time.Time
	writes := 0
	for _, r := range api.Requests(t, agent) {
		if r.Object.Resource != "nodeconfigs" || r.Object.Subresource != "status" {
			continue
		}
		writes++
		if gap := r.At.Sub(last); gap < statusRest-jitter {
			t.Errorf("%s wrote the status after %s: %s", agent, gap, r)
		}
		last = r.At
	}
	t.Logf("%s wrote the status %d times", agent, writes)
	if writes < 2 {
		t.Errorf("%s wrote the status %d times, want more", agent, writes)
	}
}

// wantQuiet wants that the daemons, where nothing changes, ask the API server for nothing but, once a minute, the Node.
// They may end what they were about first.
func (s *site) wantQuiet(agents ...string) {
	s.t.Helper()
	pause(s.t.Context(), 3*statusRest)
	count := func() (n int) {
		for _, agent := range agents {
			for _, r := range s.api.Requests(s.t, agent) {
				if r.Verb != "get" || r.Object.Resource != "nodes" {
					n++
				}
			}
		}
		return n
	}
	before := count()
	pause(s.t.Context(), 4*statusRest)
	if after := count(); after > before {
		for _, agent := range agents {
			s.t.Logf("%s asked last: %v", agent, lastOf(s.api.Requests(s.t, agent), 3))
		}
		s.t.Errorf("%d requests in %s without a change, want none", after-before, 4*statusRest)
	}
}

func lastOf[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }
