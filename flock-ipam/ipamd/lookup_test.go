// SPDX-License-Identifier: Apache-2.0

package main

import (
	"syscall"
	"testing"

	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
)

// TestLookup: flock-ipam gets a pod's annotations through the daemon, also of a pod that shows up only
// while it waits, and of the right one of two that have one name.
func TestLookup(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	m.join()
	m.pools("10.0.0.0/24")
	fixed := func(addr string) map[string]string {
		return map[string]string{"flock.fritzlab.net/addresses": addr}
	}
	web := m.api.MakePod(t, m.namespace, "web", m.name, fixed("10.0.0.9"))
	m.gives(web, "a", "10.0.0.9/32")
	m.gives(web, "a", "10.0.0.9/32")

	m.api.RemovePod(t, web)
	again := m.api.MakePod(t, m.namespace, "web", m.name, fixed("10.0.0.10"))
	m.gives(again, "b", "10.0.0.10/32")

	answered := make(chan string, 1)
	go func() {
		addr, err := m.add("c", cni.Pod{Namespace: m.namespace, Name: "late"})
		if err != nil {
			addr = err.Error()
		}
		answered <- addr
	}()
	m.api.MakePod(t, m.namespace, "late", m.name, fixed("10.0.0.11"))
	if got := <-answered; got != "10.0.0.11/32" {
		t.Errorf("ADD of a pod that comes late: %s", got)
	}
	m.counts(`flock_ipamd_lookup_wait_seconds_count{outcome="found"} 3`, "flock_ipamd_adds_allocated_total 3")
	m.end(syscall.SIGTERM)
}
