// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/test/apiserver"
)

// TestNodeConfig: none at first, then one, another, none again.
func TestNodeConfig(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.join("--config-wait", "100ms", "--pod-cidrs=false")
	m.answers("/readyz", "503", "NodeConfig "+m.name+" does not exist: create it; there is no node.json")
	m.answers("/healthz", "200")
	m.configure(onePool)
	m.pools("10.0.0.0/24")
	m.answers("/readyz", "200")
	m.says("PoolsReady=True PoolsServing: 1 pool in service", "Ready=True EverythingTrue", "p 10.0.0.0/24: 0 allocated, 0 cooling, 253 free")
	m.counts("flock_ipamd_config_valid 1")

	m.configure(`{"pools": [{"name": "q", "cidr": "10.1.0.0/24"}, {"name": "r", "cidr": "2001:db8::/64"}]}`)
	m.pools("10.1.0.0/24", "2001:db8::/64")
	m.says("q 10.1.0.0/24: 0 allocated", "r 2001:db8::/64: 0 allocated, 0 cooling, 4611686018427387904 free")

	m.configure(`{}`)
	m.says("PoolsReady=False NoPools", "Ready=False NoPools")
	m.configure(onePool)
	m.pools("10.0.0.0/24")
	m.forget()
	m.answers("/readyz", "503", "does not exist: create it; the last node.json stays in force")
	m.pools("10.0.0.0/24")
	m.configure(onePool)
	m.answers("/readyz", "200")
	m.says("Ready=True")
	m.end(syscall.SIGTERM)
}

// TestInvalidNodeConfig: one that another version's rules let in changes nothing, and the condition says why.
func TestInvalidNodeConfig(t *testing.T) {
	m := newMember(t, apiserver.New(t))
	m.withoutRules()
	m.configure(onePool)
	m.join()
	m.pools("10.0.0.0/24")
	m.says("Ready=True")
	m.configure(`{"pools": [{"name": "p", "cidr": "10.9.0.0/24"}, {"name": "q", "cidr": "10.9.0.128/25"}]}`)
	m.says("PoolsReady=False InvalidNodeConfig: the pools stay as they were: spec.pools", "p 10.0.0.0/24: 0 allocated, 0 cooling, 253 free")
	m.answers("/readyz", "503", "overlaps")
	m.counts("flock_ipamd_config_valid 0")

	m.restart(syscall.SIGKILL)
	m.answers("/readyz", "503", "overlaps")
	m.pools("10.0.0.0/24")
	m.configure(`{"pools": [{"name": "p", "cidr": "10.9.0.0/24"}]}`)
	m.pools("10.9.0.0/24")
	m.says("Ready=True")
	m.answers("/readyz", "200")
}

// withoutRules removes the rules from the CRD.
func (m *member) withoutRules() {
	m.t.Helper()
	var crd map[string]any
	text := m.api.Kubectl(m.t, "get", "crd", "nodeconfigs.flock.fritzlab.net", "-o", "json")
	if err := json.Unmarshal([]byte(text), &crd); err != nil {
		m.t.Fatal(err)
	}
	strip(crd)
	lax, err := json.Marshal(crd)
	if err == nil {
		_, err = m.api.TryKubectl(m.t.Context(), m.api.Kubeconfig(m.t), string(lax), "replace", "-f", "-")
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func strip(part any) {
	switch part := part.(type) {
	case map[string]any:
		delete(part, "x-kubernetes-validations")
		for _, inner := range part {
			strip(inner)
		}
	case []any:
		for _, inner := range part {
			strip(inner)
		}
	}
}

// TestPodCIDRs: a node that never had a NodeConfig has the pools of its Node, until one comes.
func TestPodCIDRs(t *testing.T) {
	m := newMember(t, apiserver.Start(t), "10.244.7.0/24", "2001:db8:7::/64")
	m.join("--config-wait", "200ms")
	m.pools("10.244.7.0/24", "2001:db8:7::/64")
	m.answers("/readyz", "200")
	pod := m.api.MakePod(t, m.namespace, "web", m.name, map[string]string{"flock.fritzlab.net/ipv6": "false"})
	m.gives(pod, "a", "10.244.7.2/32")

	// The next one need not wait, though a NodeConfig may still be on its way.
	m.restart(syscall.SIGTERM, "--config-wait", "1h")
	m.answers("/readyz", "200")

	m.configure(onePool)
	m.pools("10.0.0.0/24")
	m.says("PoolsReady=True PoolsDraining: 1 address of 1 pod in no pool any more and kept until the pods are gone: 10.244.7.2 (" + m.namespace + "/web)")
	m.forget()
	m.answers("/readyz", "503", "the last node.json stays in force")
	m.pools("10.0.0.0/24")
}

// TestNoPodCIDRs: a Node without any, and one that does not exist.
func TestNoPodCIDRs(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.join("--config-wait", "100ms")
	m.answers("/readyz", "503", "NodeConfig "+m.name+" does not exist and Node "+m.name+" has no podCIDRs")
	m.end(syscall.SIGTERM)
	m.name += "-none"
	m.join("--config-wait", "100ms")
	m.answers("/readyz", "503", "neither NodeConfig "+m.name+" nor a Node of that name exists")
}

// TestPoolShrunk: a pod keeps the address whose pool was made smaller, nobody else gets one from there, and
// the status tells.
func TestPoolShrunk(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	m.join()
	m.pools("10.0.0.0/24")
	old := m.api.MakePod(t, m.namespace, "old", m.name, map[string]string{"flock.fritzlab.net/cidr4": "10.0.0.128/25"})
	fixed := m.api.MakePod(t, m.namespace, "fixed", m.name, map[string]string{"flock.fritzlab.net/addresses": "10.5.0.1"})
	m.gives(old, "old", "10.0.0.128/32")
	m.gives(fixed, "fixed", "10.5.0.1/32")
	m.says("PoolsReady=True PoolsServing", "p 10.0.0.0/24: 1 allocated, 0 cooling, 252 free")

	m.configure(`{"pools": [{"name": "p", "cidr": "10.0.0.0/29"}]}`)
	m.pools("10.0.0.0/29")
	m.says("PoolsReady=True PoolsDraining: 1 address of 1 pod in no pool any more", "10.0.0.128 ("+m.namespace+"/old)", "p 10.0.0.0/29: 0 allocated, 0 cooling, 5 free")
	m.counts("flock_ipamd_outside_addresses 2")
	m.gives(old, "old", "10.0.0.128/32")
	late := m.api.MakePod(t, m.namespace, "late", m.name, nil)
	m.gives(late, "late", "10.0.0.2/32")

	for range 3 {
		m.restart(syscall.SIGKILL)
		m.answers("/readyz", "200")
	}
	m.roundsPass(3)
	m.eventuallyHas("fixed", "late", "old")
	if _, err := m.call("DEL", "old", podOf(old)); err != nil {
		t.Error(err)
	}
	m.says("PoolsReady=True PoolsServing")
	m.configure(onePool)
	m.pools("10.0.0.0/24")
	m.says("p 10.0.0.0/24: 1 allocated, 1 cooling")
}

// TestStatusWrites: once in five seconds at most, whatever happens, and never of what has not changed.
func TestStatusWrites(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	m.join("--interval", "600ms")
	m.says("253 free")
	pod := m.api.MakePod(t, m.namespace, "web", m.name, nil)
	for _, id := range []string{"a", "b", "c", "d"} {
		if _, err := m.add(id, podOf(pod)); err != nil {
			t.Fatal(err)
		}
	}
	m.says("4 allocated")
	m.roundsPass(8)
	var writes []time.Time
	for _, r := range m.requests() {
		if r.Verb == "patch" && r.Object.Subresource == "status" {
			writes = append(writes, r.At)
		}
	}
	if len(writes) < 2 || len(writes) > 3 {
		t.Errorf("%d writes of the status, want 2 or 3", len(writes))
	}
	for i := 1; i < len(writes); i++ {
		if gap := writes[i].Sub(writes[i-1]); gap < 4900*time.Millisecond {
			t.Errorf("two writes of the status within %s", gap)
		}
	}
}

// TestLoad: two watches and nothing else, once the status is written.
func TestLoad(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	m.join()
	m.says("253 free")
	m.roundsPass(1)
	before := len(m.requests())
	m.roundsPass(6)
	after := m.requests()
	for _, r := range after[before:] {
		t.Errorf("without a change: %s", r)
	}
	m.watches("pods", 1)
	m.watches("nodeconfigs", 1)
	m.watches("nodes", 0)
}

// TestLastNodeFile: what a person wrote stays where there is neither a NodeConfig nor leave to take podCIDRs.
func TestLastNodeFile(t *testing.T) {
	m := newMember(t, apiserver.Start(t), "10.244.8.0/24")
	spec := nodefile.Spec{}
	spec.MTU = 1400
	if err := nodefile.Write(m.nodeFile, spec); err != nil {
		t.Fatal(err)
	}
	m.join("--config-wait", "100ms")
	m.answers("/readyz", "503", "the last node.json stays in force")
	if node, err := nodefile.Read(m.nodeFile); err != nil || node.MTU != 1400 || len(node.Pools) != 0 {
		t.Errorf("node.json says %+v, %v", node, err)
	}
}
