// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// codecs know the types that this package makes.
var codecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, authenticationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(scheme)
}()

// core returns a client for the objects of core/v1.
func (s *Server) core(t testing.TB) *rest.RESTClient {
	t.Helper()
	client, err := newCore(s.Config())
	check(t, err)
	return client
}

func newCore(config *rest.Config) (*rest.RESTClient, error) {
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = codecs.WithoutConversion()
	return rest.RESTClientFor(config)
}

// ensure makes the object unless it is there.
func (s *Server) ensure(t testing.TB, namespace, resource string, object runtime.Object) {
	t.Helper()
	err := s.core(t).Post().NamespaceIfScoped(namespace, namespace != "").
		Resource(resource).Body(object).Do(context.Background()).Error()
	if !apierrors.IsAlreadyExists(err) {
		check(t, err)
	}
}

var namespaces atomic.Int64

// Namespace makes a namespace with a name that no other test has, and the account "default" in it.
func (s *Server) Namespace(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test-%d-%d", os.Getpid(), namespaces.Add(1))
	s.ensureAccount(t, name, "default")
	return name
}

// MakeNode makes a Node that is ready and has these podCIDRs. It is deleted when the test ends.
func (s *Server) MakeNode(t testing.TB, name string, podCIDRs ...string) *corev1.Node {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: podCIDRs}}
	if len(podCIDRs) > 0 {
		node.Spec.PodCIDR = podCIDRs[0]
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	made := &corev1.Node{}
	check(t, s.core(t).Post().Resource("nodes").Body(node).Do(context.Background()).Into(made))
	t.Cleanup(func() { s.forget("", "nodes", name) })
	return made
}

// MakePod makes a pod that is bound to the node already; its phase is Pending and it is not ready. The namespace and
// its account "default" are made where they are not there. It is deleted when the test ends.
func (s *Server) MakePod(t testing.TB, namespace, name, node string, annotations map[string]string) *corev1.Pod {
	t.Helper()
	return s.makePod(t, namespace, name, node, "default", annotations)
}

func (s *Server) makePod(t testing.TB, namespace, name, node, account string, annotations map[string]string) *corev1.Pod {
	t.Helper()
	s.ensureAccount(t, namespace, account)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeName:           node,
			ServiceAccountName: account,
			Containers:         []corev1.Container{{Name: "main", Image: "registry.example/main:1"}},
		},
	}
	made := &corev1.Pod{}
	check(t, s.core(t).Post().Namespace(namespace).Resource("pods").Body(pod).Do(context.Background()).Into(made))
	t.Cleanup(func() { s.forget(namespace, "pods", name) })
	return made
}

// forget deletes an object of a shared server at once, where it is there and the server runs.
func (s *Server) forget(namespace, resource, name string) {
	if !s.shared {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.remove(ctx, namespace, resource, name, 0)
}

func (s *Server) remove(ctx context.Context, namespace, resource, name string, grace int64) error {
	client, err := newCore(s.Config())
	if err != nil {
		return err
	}
	return client.Delete().NamespaceIfScoped(namespace, namespace != "").
		Resource(resource).Name(name).
		Body(&metav1.DeleteOptions{GracePeriodSeconds: &grace}).Do(ctx).Error()
}

// DeletePod asks for the pod's deletion, as a user does: it gets a deletion timestamp and stays, since no kubelet
// ends it, until [Server.RemovePod].
func (s *Server) DeletePod(t testing.TB, pod *corev1.Pod) {
	t.Helper()
	check(t, s.remove(context.Background(), pod.Namespace, "pods", pod.Name, 30))
}

// RemovePod removes the pod's object, as the kubelet does when the pod has ended.
func (s *Server) RemovePod(t testing.TB, pod *corev1.Pod) {
	t.Helper()
	check(t, s.remove(context.Background(), pod.Namespace, "pods", pod.Name, 0))
}

// SetReady makes the pod Running and sets its condition Ready, as the kubelet does: by one patch of the pod's status.
func (s *Server) SetReady(t testing.TB, pod *corev1.Pod, ready bool) {
	t.Helper()
	condition := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}
	if ready {
		condition.Status = corev1.ConditionTrue
	}
	s.PatchStatus(t, pod, corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{condition}})
}

// PatchStatus sets those fields of the pod's status that are not empty; conditions are merged by type and
// container statuses by name.
func (s *Server) PatchStatus(t testing.TB, pod *corev1.Pod, status corev1.PodStatus) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	check(t, err)
	check(t, s.core(t).Patch(types.StrategicMergePatchType).Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		SubResource("status").Body(patch).Do(context.Background()).Error())
}

// Pod returns the pod as it is now.
func (s *Server) Pod(t testing.TB, namespace, name string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	check(t, s.core(t).Get().Namespace(namespace).Resource("pods").Name(name).Do(context.Background()).Into(pod))
	return pod
}
