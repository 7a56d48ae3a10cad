// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/apiserver"
)

// TestIpamdAway: pods of ordinary pools notice nothing, a DEL needs no ipamd, and what it has freed is released once
// ipamd is back.
func TestIpamdAway(t *testing.T) {
	s := newSite(t, "right")
	s.begin()
	s.gives("10.9.1.2", "a", "ipv6=false")
	s.gives("10.9.1.3", "b", "ipv6=false")
	s.eventually("ipamd has seen both", func() error {
		raw, err := os.ReadFile(filepath.Join(s.db, "allocators.json"))
		if err == nil && (!strings.Contains(string(raw), `"a"`) || !strings.Contains(string(raw), `"b"`)) {
			err = errors.New(string(raw))
		}
		return err
	})
	s.end(syscall.SIGKILL)
	s.del("a")
	s.gives("fd00::2 10.0.0.2", "own", "cidr4=10.0.0.0/24")
	s.gives("10.9.1.3", "b")
	if got := s.remembers(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the allocator remembers %v", got)
	}
	answered := make(chan string)
	go func() {
		got, err := s.add("c", "ipv6=false")
		answered <- fmt.Sprint(got, " ", err)
	}()
	s.begin()
	s.eventuallyRemembers("b", "c")
	if got := <-answered; got != "10.9.1.2 <nil>" && got != "10.9.1.4 <nil>" {
		t.Errorf("an ADD that waited for ipamd: %s", got)
	}
	s.end(syscall.SIGTERM)
	s.refuses(11, "ADD", "d", []string{"ipv6=false"}, "allocate from pool by-right (allocator right): ask ipamd at "+s.socket)
}

// TestKilledBeforeTheStore: ipamd dies when the allocator has answered and flock-ipam has not stored it yet. The pod
// keeps the address.
func TestKilledBeforeTheStore(t *testing.T) {
	s := newSite(t, "waits")
	s.begin()
	answered := make(chan string)
	go func() {
		got, err := s.add("a", "ipv6=false")
		answered <- fmt.Sprint(got, " ", err)
	}()
	s.eventually("the allocator is asked", func() error { _, err := os.Stat(s.program + ".json.asked"); return err })
	// flock-ipam does not hold the store while it asks; now nobody gets it before the test is through.
	lock, err := os.Open(filepath.Join(s.db, "store.lock"))
	if err == nil {
		err = errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_EX), os.WriteFile(s.program+".json.go", nil, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.eventuallyRemembers("a")
	s.end(syscall.SIGKILL)
	s.begin()
	lock.Close()
	if got := <-answered; got != "10.9.1.2 <nil>" {
		t.Errorf("the ADD: %s", got)
	}
	s.roundsGo(4)
	if got := s.remembers(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the allocator remembers %v", got)
	}
	s.gives("10.9.1.3", "b", "ipv6=false")
	s.del("a")
	s.eventuallyRemembers("b")
	s.end(syscall.SIGTERM)
}

// roundsGo waits until the daemon has compared so often.
func (s *site) roundsGo(n int) {
	s.t.Helper()
	rounds := func() (n int, err error) {
		answer, err := s.get("/metrics")
		_, rest, _ := strings.Cut(answer, `flock_ipamd_extension_call_duration_seconds_count{call="List"`)
		_, rest, _ = strings.Cut(rest, "} ")
		fmt.Sscan(rest, &n)
		return n, err
	}
	s.eventually(fmt.Sprint(n, " comparisons"), func() error {
		if is, err := rounds(); err != nil || is < n {
			return fmt.Errorf("%d, %v", is, err)
		}
		return nil
	})
}

// TestKilledInTheMidst kills all there is, again and again, in the midst of ADDs and DELs. In the end nobody has what
// another has, and nothing is held for pods that are gone.
func TestKilledInTheMidst(t *testing.T) {
	s := newSite(t, "right")
	s.pools(`{name: by-right, cidr: 10.9.0.0/24, allocator: right}`)
	s.begin()
	alive := map[string]bool{}
	for i := range 6 {
		done := make(chan string, 8)
		for j := range cap(done) {
			go func() {
				id := fmt.Sprintf("%d-%d", i, j)
				_, err := s.add(id)
				if err != nil || j%2 == 0 {
					_, delErr := s.call("DEL", id)
					if failure := (*types.Error)(nil); err != nil && !errors.As(err, &failure) || delErr != nil {
						t.Errorf("%s: %v, %v", id, err, delErr)
					}
					id = ""
				}
				done <- id
			}()
		}
		// Not to wait for something, but to die at another moment each time.
		time.Sleep(time.Duration(i) * 15 * time.Millisecond)
		s.end(syscall.SIGKILL)
		s.begin()
		for range cap(done) {
			if id := <-done; id != "" {
				alive[id] = true
			}
		}
	}
	var want []string
	for id := range alive {
		want = append(want, id)
	}
	slices.Sort(want)
	s.eventuallyHas(want...)
	for _, id := range want {
		if !slices.Contains(s.remembers(), id) {
			t.Errorf("the allocator has forgotten %s", id)
		}
		s.del(id)
	}
	s.eventually("nothing is held that was in the store", func() error {
		for _, id := range s.remembers() {
			if alive[id] {
				return fmt.Errorf("%s is", id)
			}
		}
		return nil
	})
	s.end(syscall.SIGTERM)
}

// TestPoolWithoutItsAllocator: an allocator that no pool names any more runs on until all that it gave is back.
func TestPoolWithoutItsAllocator(t *testing.T) {
	s := newSite(t, "right")
	s.begin()
	s.gives("10.9.1.2", "a", "ipv6=false")
	s.pools(`{name: own4, cidr: 10.0.0.0/24}`)
	s.eventually("node.json follows", func() error {
		raw, err := os.ReadFile(s.nodeFile)
		if err == nil && strings.Contains(string(raw), "right") {
			err = errors.New(string(raw))
		}
		return err
	})
	s.end(syscall.SIGKILL)
	s.begin()
	s.answers("/metrics", `flock_ipamd_extension_up{extension="allocator-right"} 1`)
	s.del("a")
	s.eventuallyRemembers()
	s.eventually("the allocator has ended", func() error {
		answer, err := s.get("/metrics")
		if err == nil && strings.Contains(answer, "allocator-right\"} 1") {
			err = errors.New("it is up")
		}
		return err
	})
	s.end(syscall.SIGTERM)
}

// TestAllocatorForgets: what a pod has and its allocator does not know of may be given again: an operator must know.
func TestAllocatorForgets(t *testing.T) {
	s := newSite(t, "forgets")
	s.begin()
	s.gives("10.9.1.2", "a", "ipv6=false")
	s.end(syscall.SIGTERM)
	s.begin()
	s.eventually("the log tells of it", func() error {
		if words := s.daemon.LastWords(); !strings.Contains(words, "allocator forgets does not know of 10.9.1.2 (container a): it may give them again") {
			return errors.New(words)
		}
		return nil
	})
	s.refuses(103, "ADD", "b", []string{"ipv6=false"}, "10.9.1.2", "allocator forgets")
	s.end(syscall.SIGTERM)
}

// TestAllocatorInKubernetes: it is told what the API server knows of the pod, and the NodeConfig says when it is down.
func TestAllocatorInKubernetes(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	s := &site{node: m.node, program: filepath.Join(t.TempDir(), "allocator-tells")}
	m.configure(`{"pools": [{"name": "by-tells", "cidr": "10.9.1.0/29", "allocator": "tells"}]}`)
	m.join("--extensions", filepath.Dir(s.program))
	m.says("PoolsReady=False AllocatorUnavailable: pool by-tells: allocator tells: it is not up: find allocator tells")
	s.install(s.program)
	m.says("PoolsReady=True PoolsServing")
	web := m.api.MakePod(t, m.namespace, "web-0", m.name, map[string]string{"other.example/colour": "red"})
	m.api.Kubectl(t, "-n", m.namespace, "label", "pod", "web-0", "app=web")
	m.eventually("the allocator is told all", func() error {
		_, err := m.add("a", podOf(web))
		for _, text := range []string{`"app":"web"`, `"other.example/colour":"red"`, string(web.UID), `"Node":"` + m.name + `"`} {
			if err == nil || !strings.Contains(err.Error(), text) {
				return fmt.Errorf("%s is missing in: %w", text, err)
			}
		}
		return nil
	})
	m.end(syscall.SIGTERM)
}
