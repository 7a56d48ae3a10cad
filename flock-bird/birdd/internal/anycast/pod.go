// SPDX-License-Identifier: Apache-2.0

package anycast

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/plugins/cni"
)

// pod returns the API's object of a pod, nil if there is none or it is another pod: one that had the name
// before or has it since. Without a UID the name is all there is to go by. A static pod is known to the
// container runtime by a UID that its object in the API has as an annotation.
func (k *Keeper) pod(p cni.Pod) *corev1.Pod {
	object := k.named(p.String())
	if object == nil || p.UID != "" && p.UID != string(object.UID) && p.UID != object.Annotations[corev1.MirrorPodAnnotationKey] {
		return nil
	}
	return object
}

func (k *Keeper) named(name string) *corev1.Pod {
	object, _, err := k.Pods.GetStore().GetByKey(name)
	if err != nil {
		return nil // no cache returns one
	}
	pod, _ := object.(*corev1.Pod)
	return pod
}

// ready tells whether the pod wants traffic. None is not ready.
func ready(p *corev1.Pod) bool {
	if p == nil || p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// missing tells whether a pod that is ready asks for anycast addresses and no claim of it is known: the hint
// of its attachment was lost.
func (k *Keeper) missing(name string) bool {
	pod := k.named(name)
	if !ready(pod) || pod.Annotations[annotation.Anycast] == "" {
		return false
	}
	return !slices.ContainsFunc(k.index.of(name), func(a cni.Attachment) bool {
		return k.pod(k.index.entries[a].claim.Pod) == pod
	})
}
