// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/complain"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/status"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/internal/task"
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
			Config: config, ConfigErr: configErr, StoreErr: err,
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
