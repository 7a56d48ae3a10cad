// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/plugins/cni"
)

// ofKey is an annotation of flock's; others are not handed on.
const ofKey = annotation.Prefix + "of"

func synced() bool { return true }

// web returns pod default/web-0 of a UID, whose one annotation says so.
func web(uid string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "web-0", UID: types.UID(uid), Annotations: map[string]string{ofKey: uid, "other.example/of": uid},
	}}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func deleted(pod *corev1.Pod) { pod.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }

func mirrorOf(uid string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Annotations[corev1.MirrorPodAnnotationKey] = uid }
}

func asked(uid string) cni.Pod { return cni.Pod{Namespace: "default", Name: "web-0", UID: uid} }

func TestGet(t *testing.T) {
	for _, test := range []struct {
		name  string
		known []*corev1.Pod
		uid   string
		want  string // the UID of what is found
		gone  bool
	}{
		{name: "none", uid: "a", gone: true},
		{name: "of the UID", known: []*corev1.Pod{web("a")}, uid: "a", want: "a"},
		{name: "of the UID, being deleted", known: []*corev1.Pod{web("a", deleted)}, uid: "a", want: "a"},
		{name: "of another UID", known: []*corev1.Pod{web("a")}, uid: "b", gone: true},
		{name: "replaced", known: []*corev1.Pod{web("a"), web("b")}, uid: "b", want: "b"},
		{name: "replaced, the old one", known: []*corev1.Pod{web("a"), web("b")}, uid: "a", gone: true},
		{name: "any UID", known: []*corev1.Pod{web("a")}, want: "a"},
		{name: "any UID, being deleted", known: []*corev1.Pod{web("a", deleted)}},
		{name: "any UID, none"},
		{name: "static", known: []*corev1.Pod{web("api", mirrorOf("file"))}, uid: "file", want: "api"},
	} {
		x := New(synced)
		for _, pod := range test.known {
			x.OnUpdate(nil, pod)
		}
		var got string
		if pod, found := x.Get(asked(test.uid)); found {
			got = string(pod.UID)
		}
		if gone := x.Gone(asked(test.uid)); got != test.want || gone != test.gone {
			t.Errorf("%s: found %q, gone %v; want %q, %v", test.name, got, gone, test.want, test.gone)
		}
	}
}

// TestGoneUnsynced: nobody is gone while not everybody has come.
func TestGoneUnsynced(t *testing.T) {
	if New(func() bool { return false }).Gone(asked("a")) {
		t.Error("a pod is gone before the informer has synced")
	}
}

func TestOnDelete(t *testing.T) {
	for name, object := range map[string]any{
		"pod": web("a"), "last known": cache.DeletedFinalStateUnknown{Key: "default/web-0", Obj: web("a")},
	} {
		x := New(synced)
		x.OnAdd(web("a"), true)
		x.OnDelete(object)
		if x.Len() != 0 {
			t.Errorf("%s: %d pods are left", name, x.Len())
		}
	}
}

func TestFindWaits(t *testing.T) {
	for _, test := range []struct {
		name string
		uid  string
		come []*corev1.Pod
		want string
	}{
		{"at once", "", []*corev1.Pod{web("a")}, "a"},
		{"old one first", "b", []*corev1.Pod{web("a"), web("a", deleted), web("b")}, "b"},
		{"any but the deleted", "", []*corev1.Pod{web("a", deleted), web("b")}, "b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := New(synced)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				go func() {
					for _, pod := range test.come {
						time.Sleep(time.Second)
						x.OnUpdate(nil, pod)
					}
				}()
				got, err := x.Find(ctx, asked(test.uid))
				if err != nil || got.Annotations[ofKey] != test.want {
					t.Errorf("Find() = %v, %v, want that of %s", got, err, test.want)
				}
				if len(x.waiting) != 0 {
					t.Errorf("%d still wait", len(x.waiting))
				}
			})
		})
	}
}

func TestFindExpires(t *testing.T) {
	for _, test := range []struct {
		name   string
		synced bool
		known  *corev1.Pod
		uid    string
		want   string
	}{
		{"not synced", false, nil, "a", "has not yet told"},
		{"none", true, nil, "a", "tells of no such pod"},
		{"another", true, web("a"), "b", "has UID a, not b"},
		{"being deleted", true, web("a", deleted), "", "being deleted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := New(func() bool { return test.synced })
				if test.known != nil {
					x.OnAdd(test.known, false)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				start := time.Now()
				_, err := x.Find(ctx, asked(test.uid))
				if !errors.Is(err, lookup.ErrWaitExpired) || !strings.Contains(err.Error(), test.want) || time.Since(start) != 10*time.Second {
					t.Errorf("Find() = %v after %s, want %q after 10s", err, time.Since(start), test.want)
				}
				if len(x.waiting) != 0 {
					t.Errorf("%d still wait", len(x.waiting))
				}
			})
		})
	}
}

// TestFindMany: many wait for many, and everybody gets what is his.
func TestFindMany(t *testing.T) {
	x := New(synced)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range 500 {
		uid := fmt.Sprint(i)
		all.Go(func() {
			got, err := x.Find(ctx, cni.Pod{Namespace: "default", Name: "web-" + uid, UID: uid})
			if err != nil || got.Annotations[ofKey] != uid || len(got.Annotations) != 1 {
				t.Errorf("pod %s: %v, %v", uid, got, err)
			}
		})
		all.Go(func() {
			x.OnAdd(web(uid, func(pod *corev1.Pod) { pod.Name = "web-" + uid }), false)
		})
	}
	all.Wait()
}

func TestImage(t *testing.T) {
	for id, want := range map[string]string{
		"": "", "docker.io/library/nginx@sha256:5d0d": "sha256:5d0d", "sha256:5d0d": "sha256:5d0d",
	} {
		pod := web("a", func(pod *corev1.Pod) {
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{ImageID: id}, {ImageID: "other"}}
		})
		if got := image(pod); got != want {
			t.Errorf("%q: digest %q, want %q", id, got, want)
		}
	}
	if got := image(web("a")); got != "" {
		t.Errorf("without a status: digest %q", got)
	}
}
