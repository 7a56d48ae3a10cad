// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
)

// refuses wants an ADD to fail with the code.
func (m *member) refuses(pod *corev1.Pod, id string, code uint) {
	m.t.Helper()
	addr, err := m.add(id, podOf(pod))
	var e *types.Error
	if !errors.As(err, &e) || e.Code != code {
		m.t.Errorf("ADD of %s: %s, %v; want code %d", id, addr, err, code)
	}
}

// TestEvents: a pod that gets no address says why, once.
func TestEvents(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(`{"pools": [{"name": "tiny", "cidr": "10.0.0.0/30"}]}`) // 10.0.0.2 alone
	m.join()
	m.pools("10.0.0.0/30")

	bad := m.api.MakePod(t, m.namespace, "bad", m.name, map[string]string{"flock.fritzlab.net/ipv4": "perhaps"})
	m.events(bad, `Warning BadAnnotation by ipamd: read annotation "flock.fritzlab.net/ipv4" with value "perhaps"`)
	outside := m.api.MakePod(t, m.namespace, "outside", m.name, map[string]string{"flock.fritzlab.net/cidr4": "10.7.0.0/24"})
	m.events(outside, "Warning BadAnnotation by ipamd: ", "lies in none of the node's pools: tiny (10.0.0.0/30)")
	for range 3 {
		m.refuses(bad, "bad", cni.CodeBadAnnotation)
		m.refuses(outside, "outside", cni.CodeBadAnnotation)
	}

	first := m.api.MakePod(t, m.namespace, "first", m.name, nil)
	m.gives(first, "first", "10.0.0.2/32")
	second := m.api.MakePod(t, m.namespace, "second", m.name, nil)
	for range 3 {
		m.refuses(second, "second", cni.CodePoolExhausted)
	}
	m.events(second, "Warning PoolExhausted by ipamd: allocate IPv4 from pool tiny: exhausted")
	m.says("PoolsReady=False PoolsExhausted: no IPv4 address is left in tiny", "tiny 10.0.0.0/30: 1 allocated, 0 cooling, 0 free")
	m.counts(`flock_ipamd_adds_refused_total{code="101",reason="PoolExhausted"} 3`, `flock_ipamd_adds_refused_total{code="102",reason="BadAnnotation"} 6`)

	taken := m.api.MakePod(t, m.namespace, "taken", m.name, map[string]string{"flock.fritzlab.net/addresses": "10.0.0.2"})
	m.refuses(taken, "taken", cni.CodeAddressTaken)
	m.events(taken, "Warning AddressTaken by ipamd: ", m.namespace+"/first")

	for _, pod := range []*corev1.Pod{bad, outside, second, taken} {
		if n := m.events(pod); n != 1 {
			t.Errorf("%d Events on %s, want 1", n, pod.Name)
		}
	}
	if n := m.events(first); n != 0 {
		t.Errorf("%d Events on %s, want none", n, first.Name)
	}
}

// TestNoEventBeforePools: that the node has no pools yet is no fault of a pod's.
func TestNoEventBeforePools(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	early := m.api.MakePod(t, m.namespace, "early", m.name, map[string]string{"flock.fritzlab.net/cidr4": "10.0.0.128/25"})
	bad := m.api.MakePod(t, m.namespace, "bad", m.name, map[string]string{"flock.fritzlab.net/ipv4": "perhaps"})
	m.join()
	m.events(bad, "Warning BadAnnotation")
	m.configure(onePool)
	m.pools("10.0.0.0/24")
	m.gives(early, "early", "10.0.0.128/32")
	late := m.api.MakePod(t, m.namespace, "late", m.name, map[string]string{"flock.fritzlab.net/cidr4": "10.7.0.0/24"})
	m.events(late, "lies in none of the node's pools") // by which Events before it have been sent
	if n := m.events(early); n != 0 {
		t.Errorf("%d Events on the pod that came early, want none", n)
	}
}
