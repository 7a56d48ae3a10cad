// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
)

// NodeConfigInformer returns an informer on the NodeConfig of one name, of [*v1alpha1.NodeConfig]. It
// watches once it is run.
func (c *Client) NodeConfigInformer(name string) cache.SharedIndexInformer {
	return informer(c.flock, v1alpha1.Resource, "", fields.OneTermEqualSelector("metadata.name", name),
		&v1alpha1.NodeConfig{}, strip)
}

// PodInformer returns an informer on the pods of one node, of [*corev1.Pod], stripped to what flock
// reads. It watches once it is run; keys are namespace/name.
func (c *Client) PodInformer(node string) cache.SharedIndexInformer {
	return c.podInformer(node, stripPod)
}

// LabelledPodInformer returns one whose pods have their labels, all of their annotations and their controller as well,
// which extensions may read.
func (c *Client) LabelledPodInformer(node string) cache.SharedIndexInformer {
	return c.podInformer(node, stripSpec)
}

func (c *Client) podInformer(node string, transform cache.TransformFunc) cache.SharedIndexInformer {
	return informer(c.core, "pods", "", fields.OneTermEqualSelector("spec.nodeName", node), &corev1.Pod{}, transform)
}

// SecretInformer returns an informer on one Secret, of [*corev1.Secret]. It watches once it is run.
func (c *Client) SecretInformer(namespace, name string) cache.SharedIndexInformer {
	return informer(c.core, "secrets", namespace, fields.OneTermEqualSelector("metadata.name", name),
		&corev1.Secret{}, strip)
}

// NodeInformer returns an informer on one Node, of [*corev1.Node]. It watches once it is run.
func (c *Client) NodeInformer(name string) cache.SharedIndexInformer {
	return informer(c.core, "nodes", "", fields.OneTermEqualSelector("metadata.name", name),
		&corev1.Node{}, strip)
}

func informer(client rest.Interface, resource, namespace string, selector fields.Selector, example runtime.Object, transform cache.TransformFunc) cache.SharedIndexInformer {
	lw := cache.NewListWatchFromClient(client, resource, namespace, selector)
	i := cache.NewSharedIndexInformer(lw, example, 0, cache.Indexers{})
	// It fails only on an informer that runs already.
	_ = i.SetTransform(transform)
	return i
}

// strip drops what the API server keeps for others.
func strip(object any) (any, error) {
	if o, err := meta.Accessor(object); err == nil {
		o.SetManagedFields(nil)
		delete(o.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
	}
	return object, nil
}

// stripPod keeps what flock reads: a pod is some 10 kB as it comes and 1 kB then.
func stripPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	*pod = corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			DeletionTimestamp: pod.DeletionTimestamp, Annotations: OwnAnnotations(pod.Annotations),
		},
		Spec: corev1.PodSpec{NodeName: pod.Spec.NodeName, HostNetwork: pod.Spec.HostNetwork},
		Status: corev1.PodStatus{
			Phase: pod.Status.Phase, Conditions: readyCondition(pod.Status.Conditions), PodIPs: pod.Status.PodIPs,
			ContainerStatuses: images(pod.Status.ContainerStatuses),
		},
	}
	return pod, nil
}

// stripSpec keeps what flock reads, and what tells what the pod is.
func stripSpec(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	whole := pod.ObjectMeta
	delete(whole.Annotations, corev1.LastAppliedConfigAnnotation)
	object, err := stripPod(pod)
	pod.Annotations, pod.Labels = whole.Annotations, whole.Labels
	if owner := metav1.GetControllerOf(&whole); owner != nil {
		pod.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return object, err
}

// OwnAnnotations returns flock's, and the UID by which the container runtime knows a static pod.
func OwnAnnotations(all map[string]string) map[string]string {
	var own map[string]string
	for key, value := range all {
		if strings.HasPrefix(key, annotation.Prefix) || key == corev1.MirrorPodAnnotationKey {
			if own == nil {
				own = map[string]string{}
			}
			own[key] = value
		}
	}
	return own
}

func readyCondition(all []corev1.PodCondition) []corev1.PodCondition {
	for _, condition := range all {
		if condition.Type == corev1.PodReady {
			return []corev1.PodCondition{{Type: condition.Type, Status: condition.Status}}
		}
	}
	return nil
}

func images(all []corev1.ContainerStatus) []corev1.ContainerStatus {
	var own []corev1.ContainerStatus
	for _, status := range all {
		own = append(own, corev1.ContainerStatus{Name: status.Name, ImageID: status.ImageID})
	}
	return own
}
