// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
)

// TestOutage: while the API server is away the daemon goes on with what it knows, and when it is back with what has
// happened meanwhile, also where the watch cannot be continued.
func TestOutage(t *testing.T) {
	m := newMember(t, apiserver.New(t))
	m.configure(onePool)
	m.join()
	m.pools("10.0.0.0/24")
	known := m.api.MakePod(t, m.namespace, "known", m.name, map[string]string{"flock.fritzlab.net/addresses": "10.0.0.9"})
	gone := m.api.MakePod(t, m.namespace, "gone", m.name, nil)
	m.counts("flock_ipamd_pods 2")

	m.api.Stop()
	m.counts("flock_ipamd_api_reachable 0")
	m.answers("/readyz", "200")
	m.gives(known, "known", "10.0.0.9/32")
	stranger := cni.Pod{Namespace: m.namespace, Name: "later", UID: "11111111-2222-3333-4444-555555555555"}
	if _, err := m.add("later", stranger); err == nil || !strings.Contains(err.Error(), "tells of no such pod on the node") {
		t.Errorf("ADD of a pod that nobody knows: %v", err)
	}
	if out, err := m.Run(t.Context(), m.binary, "allocations", "--state-dir", m.db); err != nil || !strings.Contains(out, "10.0.0.9") {
		t.Errorf("allocations: %s, %v", out, err)
	}

	m.api.Resume(t)
	later := m.api.MakePod(t, m.namespace, "later", m.name, map[string]string{"flock.fritzlab.net/addresses": "10.0.0.10"})
	m.gives(later, "later", "10.0.0.10/32")
	m.counts("flock_ipamd_api_reachable 1")

	m.api.RemovePod(t, gone)
	m.api.Compact(t)
	again := m.api.MakePod(t, m.namespace, "gone", m.name, map[string]string{"flock.fritzlab.net/addresses": "10.0.0.11"})
	m.gives(again, "again", "10.0.0.11/32")
	m.configure(`{"pools": [{"name": "p", "cidr": "10.1.0.0/24"}]}`)
	m.pools("10.1.0.0/24")
	m.end(syscall.SIGTERM)
}

// TestStartWithoutTheServer: the daemon runs on with the last node.json, says so, and ends in time.
func TestStartWithoutTheServer(t *testing.T) {
	m := newMember(t, apiserver.New(t))
	m.configure(onePool)
	m.join()
	m.pools("10.0.0.0/24")
	pod := m.api.MakePod(t, m.namespace, "web", m.name, nil)
	m.end(syscall.SIGTERM)
	m.api.Stop()
	m.join("--config-wait", "100ms")
	m.answers("/readyz", "503", "the API server has not told of NodeConfig "+m.name+" in 100ms; the last node.json stays in force", "watch of pods")
	m.pools("10.0.0.0/24")
	answered := make(chan error, 1)
	go func() {
		_, err := m.add("a", podOf(pod))
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("ADD did not wait: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	m.end(syscall.SIGTERM) // within 2 s, with somebody waiting
	m.join("--config-wait", "100ms")
	m.api.Resume(t)
	var late *types.Error // the server may take longer to come back than an ADD waits
	if err := <-answered; err != nil && (!errors.As(err, &late) || late.Code != types.ErrTryAgainLater) {
		t.Errorf("the ADD that waited: %v", err)
	}
	m.answers("/readyz", "200")
	if _, err := m.add("b", podOf(pod)); err != nil {
		t.Error(err)
	}
}

// TestWithoutTheCRD: the daemon waits for it, and goes on with the rest.
func TestWithoutTheCRD(t *testing.T) {
	m := newMember(t, apiserver.New(t))
	m.api.Kubectl(t, "delete", "crd", "nodeconfigs.flock.fritzlab.net")
	m.join("--config-wait", "100ms")
	m.answers("/readyz", "503", "watch of NodeConfigs: ", "could not find the requested resource")
	m.eventually("the pods are known", func() error {
		answer, err := m.get("/readyz")
		if err == nil && strings.Contains(answer, "watch of pods") {
			err = errors.New(answer)
		}
		return err
	})
	m.api.Kubectl(t, "create", "-f", "../../deploy/base/nodeconfigs.flock.fritzlab.net.yaml")
	m.api.Kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	m.configure(onePool)
	m.answers("/readyz", "200")
	m.says("Ready=True")
}

// TestRestarts: ADDs that need the daemon succeed while it is killed and started again and again, and nobody loses or
// shares an address.
func TestRestarts(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	m.join()
	m.pools("10.0.0.0/24")
	var pods []*corev1.Pod
	for i := range 20 {
		pods = append(pods, m.api.MakePod(t, m.namespace, fmt.Sprint("web-", i), m.name, map[string]string{"flock.fritzlab.net/ipv4": "true"}))
	}
	var adds sync.WaitGroup
	addrs := make([]string, len(pods))
	adds.Go(func() {
		for i, pod := range pods {
			var err error
			if addrs[i], err = m.add(pod.Name, podOf(pod)); err != nil {
				t.Errorf("ADD of %s: %v", pod.Name, err)
			}
		}
	})
	done := make(chan bool)
	go func() { adds.Wait(); close(done) }()
	for running, i := true, 0; running; i++ {
		select {
		case <-done:
			running = false
		case <-time.After(time.Duration(100+i*37%400) * time.Millisecond):
			m.restart([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2])
		}
	}
	m.answers("/readyz", "200")
	m.roundsPass(3)
	seen := map[string]bool{}
	for i, addr := range addrs {
		if addr == "" || seen[addr] {
			t.Errorf("%s has %q, which another one has", pods[i].Name, addr)
		}
		seen[addr] = true
	}
	if got := m.has(); len(got) != len(pods) {
		t.Errorf("allocations of %v, want %d", got, len(pods))
	}
}

// TestSecond: one that is started beside another gives way, and takes nothing from it.
func TestSecond(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	m.join()
	m.pools("10.0.0.0/24")
	first := m.daemon
	m.join()
	m.eventually("the second has ended", func() error {
		if m.daemon.Running() {
			return errors.New("it runs")
		}
		return nil
	})
	if words := m.daemon.LastWords(); !strings.Contains(words, "listen for health checks: listen tcp "+listen) {
		t.Errorf("the second said: %s", words)
	}
	m.daemon = first
	pod := m.api.MakePod(t, m.namespace, "web", m.name, map[string]string{"flock.fritzlab.net/addresses": "10.0.0.9"})
	m.gives(pod, "a", "10.0.0.9/32")
	taken := m.api.MakePod(t, m.namespace, "taken", m.name, map[string]string{"flock.fritzlab.net/addresses": "10.0.0.9"})
	m.refuses(taken, "taken", cni.CodeAddressTaken)
	m.events(taken, "Warning AddressTaken")
}

// TestSocketTaken: a daemon whose socket is removed, or another's, ends: who starts it again makes it anew.
func TestSocketTaken(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	pod := m.api.MakePod(t, m.namespace, "web", m.name, nil)
	for _, socket := range []string{m.socket, filepath.Join(m.db, report.SocketName)} {
		m.join()
		m.answers("/readyz", "200")
		if err := os.Remove(socket); err != nil {
			t.Fatal(err)
		}
		m.eventually("the daemon has ended", func() error {
			if m.daemon.Running() {
				return errors.New("it runs")
			}
			return nil
		})
		if words := m.daemon.LastWords(); !strings.Contains(words, socket+" is no more this daemon's") {
			t.Errorf("it said: %s", words)
		}
	}
	m.join()
	m.gives(pod, "a", "10.0.0.2/32")
}

// TestNeverFinished: what a sandbox got that was never finished is released when its pod is gone, though its network
// namespace was left behind; a pod that is there loses nothing.
func TestNeverFinished(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	m.join()
	m.pools("10.0.0.0/24")
	gone := m.api.MakePod(t, m.namespace, "gone", m.name, nil)
	stays := m.api.MakePod(t, m.namespace, "stays", m.name, nil)
	for _, pod := range []*corev1.Pod{gone, stays} {
		if _, err := m.add(pod.Name, podOf(pod)); err != nil {
			t.Fatal(err)
		}
	}
	m.roundsPass(3)
	m.eventuallyHas("gone", "stays")
	m.api.RemovePod(t, gone)
	m.eventuallyHas("stays")
	m.roundsPass(3)
	m.eventuallyHas("stays")
	m.counts("flock_ipamd_reconcile_released_total 1")
}
