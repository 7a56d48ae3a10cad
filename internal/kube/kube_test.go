// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

func connect(t *testing.T, s *apiserver.Server, userAgent string) *Client {
	t.Helper()
	c, err := Connect(s.Kubeconfig(t), userAgent)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func within(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	if err := lab.Within(t.Context(), limit, what, check); err != nil {
		t.Fatal(err)
	}
}

// run runs an informer for the test's time.
func run(t *testing.T, informer cache.SharedIndexInformer) cache.Store {
	t.Helper()
	go informer.RunWithContext(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
		t.Fatal("the informer has not synced")
	}
	return informer.GetStore()
}

// makeNodeConfig makes a NodeConfig that is deleted when the test ends.
func makeNodeConfig(t *testing.T, c *Client, name string) *v1alpha1.NodeConfig {
	t.Helper()
	object := &v1alpha1.NodeConfig{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.NodeConfigSpec{Pools: []v1alpha1.Pool{{Name: "default6", CIDR: "2001:db8:1::/64"}}},
	}
	made, err := c.NodeConfigs().Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := c.NodeConfigs().Delete(context.Background(), name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return made
}

func TestConnectNamesWhatIsMissing(t *testing.T) {
	if _, err := Connect(filepath.Join(t.TempDir(), "absent"), "test"); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "load kubeconfig ") {
		t.Errorf("Connect with no file: %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := Connect("", "test"); err == nil || !strings.HasPrefix(err.Error(), "find the API server from inside a pod: ") {
		t.Errorf("Connect outside a pod: %v", err)
	}
}

func TestPodInformer(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	c := connect(t, s, "test")
	s.MakeNode(t, "kube-pods")
	pod := s.MakePod(t, "kube", "web", "kube-pods", map[string]string{"flock.fritzlab.net/ipv4": "false", "example.net/other": "x"})
	s.MakePod(t, "kube", "elsewhere", "kube-other", nil)
	s.PatchStatus(t, pod, corev1.PodStatus{
		Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "2001:db8::7"}},
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "main", Image: "m", ImageID: "sha256:1", RestartCount: 3}},
	})
	store := run(t, c.PodInformer("kube-pods"))
	if keys := store.ListKeys(); !slices.Equal(keys, []string{"kube/web"}) {
		t.Fatalf("pods %v, want kube/web alone", keys)
	}
	got := store.List()[0].(*corev1.Pod)
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: "kube", UID: pod.UID, ResourceVersion: got.ResourceVersion,
			Annotations: map[string]string{"flock.fritzlab.net/ipv4": "false"},
		},
		Spec: corev1.PodSpec{NodeName: "kube-pods"},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "2001:db8::7"}},
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ImageID: "sha256:1"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	s.DeletePod(t, pod)
	within(t, 5*time.Second, "the deletion timestamp", func() error {
		if p := store.List()[0].(*corev1.Pod); p.DeletionTimestamp == nil {
			return errors.New("it has none")
		}
		return nil
	})
	s.RemovePod(t, pod)
	within(t, 5*time.Second, "an empty store", func() error { return mustHave(store, 0) })
}

// TestLabelledPodInformer: what extensions may read is kept.
func TestLabelledPodInformer(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	c := connect(t, s, "test")
	s.MakeNode(t, "kube-labelled")
	pod := s.MakePod(t, "kube", "labelled-0", "kube-labelled", map[string]string{"flock.fritzlab.net/ipv4": "false", "example.net/other": "x"})
	s.Kubectl(t, "patch", "pod", "-n", "kube", "labelled-0", "--type=merge", "-p", `{"metadata": {"labels": {"app": "web"}, "ownerReferences": [
		{"apiVersion": "v1", "kind": "ConfigMap", "name": "beside", "uid": "1"},
		{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "labelled", "uid": "2", "controller": true}]}}`)
	got := run(t, c.LabelledPodInformer("kube-labelled")).List()[0].(*corev1.Pod)
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "labelled-0", Namespace: "kube", UID: pod.UID, ResourceVersion: got.ResourceVersion,
			Labels:      map[string]string{"app": "web"},
			Annotations: map[string]string{"flock.fritzlab.net/ipv4": "false", "example.net/other": "x"},
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "labelled", UID: "2", Controller: new(true)},
			},
		},
		Spec:   corev1.PodSpec{NodeName: "kube-labelled"},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if own := OwnAnnotations(got.Annotations); len(own) != 1 {
		t.Errorf("flock's annotations are %v", own)
	}
}

func mustHave(store cache.Store, n int) error {
	if keys := store.ListKeys(); len(keys) != n {
		return fmt.Errorf("it holds %v", keys)
	}
	return nil
}

func TestNodeConfigInformer(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test")
	store := run(t, c.NodeConfigInformer("kube-informed"))
	makeNodeConfig(t, c, "kube-other")
	made := makeNodeConfig(t, c, "kube-informed")
	within(t, 5*time.Second, "the NodeConfig", func() error { return mustHave(store, 1) })
	got := store.List()[0].(*v1alpha1.NodeConfig)
	if got.Name != "kube-informed" || got.UID != made.UID || got.ManagedFields != nil || got.Spec.Pools[0].Name != "default6" {
		t.Errorf("NodeConfig %+v", got)
	}
	if err := c.NodeConfigs().Delete(t.Context(), "kube-informed", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "an empty store", func() error { return mustHave(store, 0) })
}

// A server that has forgotten where a watch stood answers 410 Gone, once it is back.
func TestInformersSurviveCompaction(t *testing.T) {
	t.Parallel()
	s := apiserver.New(t)
	s.CRDs(t)
	c := connect(t, s, "test-compaction")
	s.MakeNode(t, "node-1")
	for i := range 5 {
		s.MakePod(t, "kube", fmt.Sprint("before-", i), "node-1", nil)
	}
	pods, configs := run(t, c.PodInformer("node-1")), run(t, c.NodeConfigInformer("node-1"))
	s.Compact(t)
	s.MakePod(t, "kube", "after", "node-1", nil)
	makeNodeConfig(t, c, "node-1")
	within(t, 60*time.Second, "six pods", func() error { return mustHave(pods, 6) })
	within(t, 60*time.Second, "the NodeConfig", func() error { return mustHave(configs, 1) })
	if watches := s.Watches(t, "test-compaction"); len(watches) != 2 {
		t.Errorf("watches %v, want two", watches)
	}
}

// outcomes collects what is reported.
type outcomes struct {
	mu   sync.Mutex
	last error
	all  []error
}

func (o *outcomes) report(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last, o.all = err, append(o.all, err)
}

func (o *outcomes) lastError() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

func TestContact(t *testing.T) {
	t.Parallel()
	s := apiserver.New(t)
	c := connect(t, s, "test")
	var o outcomes
	c.OnContact(o.report)
	run(t, c.PodInformer("node-1"))
	if err := o.lastError(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	within(t, 30*time.Second, "a report", func() error {
		if err := o.lastError(); err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "pods") {
			return fmt.Errorf("reported %v", err)
		}
		return nil
	})
	s.Resume(t)
	within(t, 60*time.Second, "contact", o.lastError)
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	c := connect(t, s, "test")
	namespace := s.Namespace(t)
	pod := s.MakePod(t, namespace, "web", "kube-events", nil)
	recorder, stop, err := NewRecorder(c, "flock-test", "kube-events")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	recorder.Eventf(pod, corev1.EventTypeWarning, "BadAnnotation", "%s is no CIDR", "x")
	recorder.Eventf(pod, corev1.EventTypeWarning, "BadAnnotation", "%s is no CIDR", "x")
	within(t, 10*time.Second, "one Event that counts two", func() error {
		list, err := c.Events(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 || list.Items[0].Count != 2 {
			return fmt.Errorf("Events %v", list.Items)
		}
		e := list.Items[0]
		if e.InvolvedObject.UID != pod.UID || e.Message != "x is no CIDR" || e.Source != (corev1.EventSource{Component: "flock-test", Host: "kube-events"}) {
			return fmt.Errorf("Event %v", e)
		}
		return nil
	})
}
