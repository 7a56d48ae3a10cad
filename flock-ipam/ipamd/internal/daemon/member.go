// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/complain"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/status"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/cni"
)

// watching returns the task that runs an informer. Until all that there was has been told of, its area says why not.
func (m *member) watching(area string, informer cache.SharedIndexInformer, synced func() bool) task.Task {
	return task.Func(area, func(ctx context.Context) error {
		kube.Watch(ctx, informer, synced, func(err error) {
			m.health.Set(area, err)
			m.observe.Fire()
		})
		return nil
	})
}

// receive makes Events of flock-ipam's reports.
func receive(ctx context.Context, reports *report.Listener, complainer *complain.Complainer) error {
	defer context.AfterFunc(ctx, func() { reports.Close() })()
	for {
		r, err := reports.Receive()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive reports: %w", err)
		}
		complainer.Refused(r)
	}
}

// statusRest is how long the pools' usage is not counted again after it was.
const statusRest = time.Second

// observing keeps the status as the store and the NodeConfig are.
func (m *member) observing(ctx context.Context) error {
	return task.Loop(ctx, m.observe, statusRest, m.Interval, func(context.Context) {
		config, configErr := m.follower.Config()
		if config == nil || !m.pods.Synced() {
			return
		}
		used, _, err := m.read()
		m.status.Set(config, status.Of(status.View{
			Config: config, ConfigErr: configErr, StoreErr: err, AllocatorsDown: m.allocators.Down(),
			Usage: used, Draining: status.Draining(used.Outside, m.annotations),
		}))
	})
}

func (m *member) annotations(pod cni.Pod) (map[string]string, bool) {
	known, found := m.pods.Get(pod)
	if !found {
		return nil, false
	}
	return known.Annotations, true
}

// describe returns the pod as an allocator is told of it, when it is known.
func (m *member) describe(ctx context.Context, pod cni.Pod) (allocator.Pod, error) {
	if pod.Name == "" {
		return allocator.Pod{}, nil
	}
	known, err := m.pods.Await(ctx, pod)
	if err != nil {
		return allocator.Pod{}, err
	}
	described := allocator.Pod{
		Namespace: known.Namespace, Name: known.Name, UID: string(known.UID), Labels: known.Labels, Annotations: known.Annotations,
	}
	if owner := metav1.GetControllerOf(known); owner != nil {
		described.Owner = allocator.Owner{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: string(owner.UID)}
	}
	return described, nil
}
