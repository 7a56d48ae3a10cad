// SPDX-License-Identifier: Apache-2.0

// Package pods knows the node's pods as an informer tells of them, and waits for those that it is asked
// for and has not seen yet.
package pods

import (
	"context"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Index holds the pods. It is a [cache.ResourceEventHandler]: who owns the informer adds it there.
type Index struct {
	// Synced tells whether the informer has told of all pods that there were.
	Synced func() bool

	mu      sync.Mutex
	pods    map[name]*corev1.Pod
	waiting map[name]map[chan struct{}]bool
}

// name is a pod's among the pods of all namespaces.
type name struct{ namespace, name string }

func nameOf(pod *corev1.Pod) name { return name{pod.Namespace, pod.Name} }

// New returns an index without pods.
func New(synced func() bool) *Index {
	return &Index{Synced: synced, pods: map[name]*corev1.Pod{}, waiting: map[name]map[chan struct{}]bool{}}
}

// OnAdd takes a pod in.
func (x *Index) OnAdd(object any, _ bool) { x.take(object) }

// OnUpdate takes a pod in, which may be another one of the same name.
func (x *Index) OnUpdate(_, object any) { x.take(object) }

// OnDelete forgets a pod.
func (x *Index) OnDelete(object any) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.pods, nameOf(pod))
}

func (x *Index) take(object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pods[nameOf(pod)] = pod
	for waiter := range x.waiting[nameOf(pod)] {
		close(waiter)
	}
	delete(x.waiting, nameOf(pod))
}

// Len returns how many pods there are.
func (x *Index) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.pods)
}

// Get returns the pod that is meant, and false while it is not known. One with another UID is another pod,
// and where no UID is named, one that is being deleted is not the one that an ADD is for.
func (x *Index) Get(want cni.Pod) (*corev1.Pod, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.get(want)
}

func (x *Index) get(want cni.Pod) (*corev1.Pod, bool) {
	pod := x.pods[name{want.Namespace, want.Name}]
	switch {
	case pod == nil:
		return nil, false
	case want.UID == "":
		return pod, pod.DeletionTimestamp == nil
	}
	return pod, has(pod, want.UID)
}

// has tells whether the runtime knows the pod by the UID. A static pod has another one on its node than in the
// API, where a copy stands for it.
func has(pod *corev1.Pod, uid string) bool {
	return string(pod.UID) == uid || pod.Annotations[corev1.MirrorPodAnnotationKey] == uid
}

// Gone tells that all pods of the node are known and that the one that is meant is not among them. It
// cannot tell of a pod without a UID.
func (x *Index) Gone(want cni.Pod) bool {
	if want.UID == "" || !x.Synced() {
		return false
	}
	_, found := x.Get(want)
	return !found
}

// Find is a [lookup.Handler]: it waits for the pod until the context ends.
func (x *Index) Find(ctx context.Context, want cni.Pod) (lookup.Answer, error) {
	pod, err := x.Await(ctx, want)
	if err != nil {
		return lookup.Answer{}, err
	}
	return lookup.Answer{Annotations: kube.OwnAnnotations(pod.Annotations), Image: image(pod)}, nil
}

// Await returns the pod when it is known. That the context ends before is a [lookup.ErrWaitExpired].
func (x *Index) Await(ctx context.Context, want cni.Pod) (*corev1.Pod, error) {
	for {
		pod, waiter := x.getOrWait(want)
		if pod != nil {
			return pod, nil
		}
		select {
		case <-waiter:
		case <-ctx.Done():
			x.leave(want, waiter)
			return nil, fmt.Errorf("%w: %s: %w", lookup.ErrWaitExpired, x.missing(want), ctx.Err())
		}
	}
}

// getOrWait returns the pod, or else what is closed when one of its name has come.
func (x *Index) getOrWait(want cni.Pod) (*corev1.Pod, chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if pod, found := x.get(want); found {
		return pod, nil
	}
	key, waiter := name{want.Namespace, want.Name}, make(chan struct{})
	if x.waiting[key] == nil {
		x.waiting[key] = map[chan struct{}]bool{}
	}
	x.waiting[key][waiter] = true
	return nil, waiter
}

func (x *Index) leave(want cni.Pod, waiter chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := name{want.Namespace, want.Name}
	if delete(x.waiting[key], waiter); len(x.waiting[key]) == 0 {
		delete(x.waiting, key)
	}
}

// missing says why there is no such pod.
func (x *Index) missing(want cni.Pod) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	pod := x.pods[name{want.Namespace, want.Name}]
	switch {
	case !x.Synced():
		return "the API server has not yet told of the node's pods"
	case pod == nil:
		return "the API server tells of no such pod on the node"
	case want.UID == "":
		return "the pod of that name is being deleted"
	}
	return fmt.Sprintf("the pod of that name has UID %s, not %s", pod.UID, want.UID)
}

// image returns the digest of the first container's image, empty while the status shows none.
func image(pod *corev1.Pod) string {
	if len(pod.Status.ContainerStatuses) == 0 {
		return ""
	}
	id := pod.Status.ContainerStatuses[0].ImageID
	if _, digest, found := strings.Cut(id, "@"); found {
		return digest
	}
	return id
}
