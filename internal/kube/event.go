// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
)

// NewRecorder returns a recorder of Events from one component on one node, and what ends it. It never
// waits: Events are sent behind its back, repeated ones as a count; those that cannot be sent, or that
// come too fast, are dropped.
func NewRecorder(c *Client, component, node string) (recorder record.EventRecorder, stop func(), err error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(sink{ctx, c})
	recorder = broadcaster.NewRecorder(scheme, corev1.EventSource{Component: component, Host: node})
	return recorder, func() { cancel(); broadcaster.Shutdown() }, nil
}

// eventPatience bounds one write: the next Events wait for it.
const eventPatience = 10 * time.Second

type sink struct {
	ctx    context.Context
	client *Client
}

// Create, Update and Patch implement [record.EventSink].
func (s sink) Create(event *corev1.Event) (*corev1.Event, error) {
	ctx, cancel := context.WithTimeout(s.ctx, eventPatience)
	defer cancel()
	return s.client.Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
}

func (s sink) Update(event *corev1.Event) (*corev1.Event, error) {
	ctx, cancel := context.WithTimeout(s.ctx, eventPatience)
	defer cancel()
	return s.client.Events(event.Namespace).Update(ctx, event, metav1.UpdateOptions{})
}

func (s sink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	ctx, cancel := context.WithTimeout(s.ctx, eventPatience)
	defer cancel()
	return s.client.Events(event.Namespace).Patch(ctx, event.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{})
}
