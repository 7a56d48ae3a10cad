// SPDX-License-Identifier: Apache-2.0

package anycast_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
)

const (
	none = ""
	byV1 = "2001:db8:a::1 by v1, prefers v1"
)

// status is what a kubelet writes of a pod.
func status(phase corev1.PodPhase, ready corev1.ConditionStatus) corev1.PodStatus {
	s := corev1.PodStatus{Phase: phase}
	if ready != "" {
		s.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	}
	return s
}

// TestReadiness starts a keeper beside an announcement that is wrong, or right, and has it see a pod.
func TestReadiness(t *testing.T) {
	api := apiserver.Start(t)
	running := status(corev1.PodRunning, corev1.ConditionTrue)
	as := func(change func(*cni.Pod)) func(*site, *corev1.Pod) cni.Pod {
		return func(_ *site, p *corev1.Pod) cni.Pod {
			id := identity(p)
			change(&id)
			return id
		}
	}
	same := as(func(*cni.Pod) {})
	for _, tt := range []struct {
		name   string
		status corev1.PodStatus
		// claimed returns whom the claim names.
		claimed   func(*site, *corev1.Pod) cni.Pod
		immediate bool
		want      string
	}{
		{name: "ready", status: running, claimed: same, want: byV1},
		{name: "not ready", status: status(corev1.PodRunning, corev1.ConditionFalse), claimed: same},
		{name: "nobody knows", status: status(corev1.PodRunning, corev1.ConditionUnknown), claimed: same},
		{name: "no condition", status: status(corev1.PodRunning, ""), claimed: same},
		{name: "succeeded", status: status(corev1.PodSucceeded, corev1.ConditionTrue), claimed: same},
		{name: "failed", status: status(corev1.PodFailed, corev1.ConditionTrue), claimed: same},
		{name: "being deleted", status: running, claimed: func(s *site, p *corev1.Pod) cni.Pod {
			s.api.DeletePod(s.T, p)
			return identity(p)
		}},
		{name: "gone", status: running, claimed: func(s *site, p *corev1.Pod) cni.Pod {
			s.api.RemovePod(s.T, p)
			return identity(p)
		}},
		{name: "another pod of the name", status: running, claimed: as(func(p *cni.Pod) { p.UID = "before" })},
		{name: "no UID", status: running, claimed: as(func(p *cni.Pod) { p.UID = "" }), want: byV1},
		{name: "no pod", status: running, claimed: as(func(p *cni.Pod) { *p = cni.Pod{} })},
		{name: "immediate, not ready", status: status(corev1.PodRunning, corev1.ConditionFalse), claimed: same,
			immediate: true, want: "2001:db8:a::1 by v1, prefers"},
		{name: "immediate, no pod", claimed: as(func(p *cni.Pod) { *p = cni.Pod{} }), immediate: true, want: "2001:db8:a::1 by v1, prefers"},
	} {
		for _, announced := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{true: ", announced"}[announced], func(t *testing.T) {
				s := newSite(t, api, "v1", "v2")
				pod := s.makePod("web", any6)
				api.PatchStatus(t, pod, tt.status)
				s.take(claim.Claim{Pod: tt.claimed(s, pod), Link: "v1", Anycast: []netip.Addr{any6}, Immediate: tt.immediate})
				if announced {
					if err := s.board.Announce(attachment("v1"), any6); err != nil {
						t.Fatal(err)
					}
				}
				s.settle()
				if got := s.picture(); got != tt.want {
					t.Errorf("the anycast address is %q, want %q", got, tt.want)
				}
			})
		}
	}
}

// settle starts a keeper and waits until it has done all that it found to do: it does one thing after
// another, and so what it finds out later about a second pod.
func (s *site) settle() {
	s.Helper()
	addr := netip.MustParseAddr("2001:db8:a::2")
	pod := s.makePod("sentinel", addr)
	s.attach("v2", identity(pod), addr)
	s.api.SetReady(s.T, pod, true)
	s.start()
	s.awaitLinks(addr, " v2")
	s.api.SetReady(s.T, pod, false)
	s.awaitLinks(addr, "")
}

// TestEvents follows two pods of one address through their lives.
func TestEvents(t *testing.T) {
	api := apiserver.Start(t)
	s := newSite(t, api, "v1", "v2")
	k, _ := s.start()
	one, two := s.makePod("one", any6), s.makePod("two", any6)
	s.attach("v1", identity(one), any6)
	s.attach("v2", identity(two), any6)
	k.Attachment(attachment("v1"))
	k.Attachment(attachment("v2"))
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"one ready", func() { api.SetReady(t, one, true) }, byV1},
		{"two ready", func() { api.SetReady(t, two, true) }, "2001:db8:a::1 by v1 v2, prefers v1 v2"},
		{"one not ready", func() { api.SetReady(t, one, false) }, "2001:db8:a::1 by v2, prefers v2"},
		{"none ready", func() { api.SetReady(t, two, false) }, none},
		{"one ready again", func() { api.SetReady(t, one, true) }, byV1},
		{"two ready again", func() { api.SetReady(t, two, true) }, "2001:db8:a::1 by v1 v2, prefers v1 v2"},
		{"one being deleted", func() { api.DeletePod(t, one) }, "2001:db8:a::1 by v2, prefers v2"},
		{"one detached", func() { s.detach("v1"); k.Attachment(attachment("v1")); api.RemovePod(t, one) }, "2001:db8:a::1 by v2, prefers v2"},
		{"two detached", func() { s.detach("v2"); k.Attachment(attachment("v2")) }, none},
	} {
		step.do()
		s.await(step.want)
		if t.Failed() {
			t.Fatalf("after %q", step.name)
		}
	}
	if got := s.host.Routes("main") + s.host.Nexthops(); got != "" {
		t.Errorf("in the end there is still:\n%s", got)
	}
}

func TestSnapshot(t *testing.T) {
	s := newSite(t, apiserver.Start(t), "v1", "v2", "v3")
	any4 := netip.MustParseAddr("10.9.9.9")
	one, two := s.makePod("one", any6, any4), s.makePod("two", any6)
	s.attach("v1", identity(one), any6, any4)
	s.attach("v2", identity(two), any6)
	s.take(claim.Claim{Link: "v3", Anycast: []netip.Addr{netip.MustParseAddr("10.9.9.8")}, Immediate: true})
	s.api.SetReady(t, two, true)
	k, _ := s.start()
	s.await("2001:db8:a::1 by v2, prefers v2")
	want := []v1alpha1.AnycastStatus{
		{Address: "10.9.9.8", Announced: true},
		{Address: "10.9.9.9", Pods: []string{s.namespace + "/one"}},
		{Address: "2001:db8:a::1", Pods: []string{s.namespace + "/one", s.namespace + "/two"}, Announced: true},
	}
	if diff := cmp.Diff(want, k.Snapshot()); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

// TestStaticPod claims by the UID that kubelet gives a static pod, which is not that of its object.
func TestStaticPod(t *testing.T) {
	api := apiserver.Start(t)
	s := newSite(t, api, "v1")
	client, err := kube.Connect(api.Kubeconfig(t), "kubelet")
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "etcd", Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "of-the-file"}},
		Spec:       corev1.PodSpec{NodeName: s.node, Containers: []corev1.Container{{Name: "etcd", Image: "registry.example/etcd:1"}}},
	}
	if pod, err = client.Pods(s.namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	api.SetReady(t, pod, true)
	id := identity(pod)
	id.UID = "of-the-file"
	s.attach("v1", id, any6)
	s.start()
	s.await(byV1)
}
