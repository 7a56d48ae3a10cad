// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

// TestNodeConfigAbsent starts the daemons before there is a NodeConfig: they wait for it, and pods for their addresses.
func TestNodeConfigAbsent(t *testing.T) {
	t.Parallel()
	s := newSite(t, apiserver.Start(t), options{unconfigured: true})
	s.startIpamd()
	early := s.newPod("early", nil)
	if err := s.add(early); err == nil {
		t.Fatalf("ADD without a NodeConfig gave the pod %v", early.Addresses())
	}
	if err := s.Runtime.Status(t.Context()); lab.Code(err) != 50 {
		t.Errorf("STATUS without a NodeConfig = %v, want code 50", err)
	}
	s.configure(s.Pool6.String(), s.Pool4.String())
	check(t, s.Lab().StartRouting(t.Context()))
	s.awaitCondition(v1alpha1.ConditionReady, metav1.ConditionTrue)
	check(t, s.retry(early))
	s.wantReachable(early)
}

// TestNodeConfigDeleted deletes the NodeConfig under running pods: nobody notices, and pods still come. Its successor,
// a new object of the name, is followed as the first was.
func TestNodeConfigDeleted(t *testing.T) {
	t.Parallel()
	s := newSite(t, apiserver.Start(t), options{})
	web := s.attach("web", nil)
	flows := s.startFlows(web.Addresses()...)
	s.deleteNodeConfig()
	s.awaitComparisons(3)
	late := s.attach("late", nil)
	s.wantReachable(late)
	s.end(s.Birdd, syscall.SIGTERM)
	s.end(s.Ipamd, syscall.SIGTERM)
	check(t, s.StartBirdd())
	s.startIpamd()
	s.awaitComparisons(3)
	later := s.attach("later", nil)
	s.wantReachable(late, later)

	s.configure(s.Pool6.String(), s.Pool4.String())
	s.awaitCondition(v1alpha1.ConditionReady, metav1.ConditionTrue)
	s.wantReachable(web, late, later)
	wantWhole(t, flows)
}

// TestNodeConfigReplaced gives the node other pools while a pod has addresses of the first, and then the first ones
// again. The pod keeps its addresses and stays reachable throughout; new pods get addresses of the pools of the day.
func TestNodeConfigReplaced(t *testing.T) {
	t.Parallel()
	s := newSite(t, apiserver.Start(t), options{})
	old := s.attach("old", nil)
	flows := s.startFlows(old.Addresses()...)
	pool6, pool4 := netip.MustParsePrefix("2001:db8:99::/64"), netip.MustParsePrefix("10.99.0.0/24")
	s.deleteNodeConfig()
	s.configure(pool6.String(), pool4.String())
	s.awaitDraining()
	s.awaitCondition(v1alpha1.ConditionReady, metav1.ConditionTrue)
	fresh := s.attach("fresh", nil)
	wantOf(t, fresh, pool6, pool4)
	s.wantReachable(old, fresh)

	flows = append(flows, s.startFlows(fresh.Addresses()...)...)
	s.configure(s.Pool6.String(), s.Pool4.String())
	s.awaitCondition(v1alpha1.ConditionReady, metav1.ConditionTrue)
	check(t, s.Lab().AwaitSummaries(t.Context()))
	last := s.attach("last", nil)
	wantOf(t, last, s.Pool6, s.Pool4)
	s.awaitAnnounced(false, old.Address6().String(), old.Address4().String())
	s.awaitAnnounced(true, fresh.Address6().String(), fresh.Address4().String())
	s.wantReachable(old, fresh, last)
	wantWhole(t, flows)
	check(t, errors.Join(s.del(old), s.del(fresh), s.del(last)))
}

// awaitDraining waits until the status says that pods use addresses of pools that are gone.
func (s *site) awaitDraining() {
	s.t.Helper()
	await(s.t, "pools are draining", func() error {
		ready := s.awaitCondition(v1alpha1.ConditionPoolsReady, metav1.ConditionTrue)
		if ready.Reason != v1alpha1.ReasonPoolsDraining {
			return fmt.Errorf("the reason of %s is %s: %s", ready.Type, ready.Reason, ready.Message)
		}
		return nil
	})
}

// wantOf wants that the pod's addresses are of the pools.
func wantOf(t *testing.T, p *pod, pool6, pool4 netip.Prefix) {
	t.Helper()
	if !pool6.Contains(p.Address6()) || !pool4.Contains(p.Address4()) {
		t.Errorf("pod %s has %v, not of %s and %s", p.object.Name, p.Addresses(), pool6, pool4)
	}
}
