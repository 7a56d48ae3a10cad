// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/complain"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/status"
	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/cni"
)

// watching returns the task that runs an informer. Until all that there was has been told of, its area says why not;
// afterwards it serves from memory, and that the API server is away is another matter.
func (m *member) watching(area string, informer cache.SharedIndexInformer, synced func() bool) task.Task {
	// It fails only on an informer that runs already.
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		if informer.HasSynced() || ctx.Err() != nil {
			cache.DefaultWatchErrorHandler(ctx, r, err) // which writes to the log
			return
		}
		m.health.Set(area, err)
	})
	return task.Func(area, func(ctx context.Context) error {
		var telling sync.WaitGroup
		telling.Go(func() {
			if cache.WaitForCacheSync(ctx.Done(), synced) {
				m.health.Set(area, nil)
				m.observe.Fire()
			}
		})
		informer.RunWithContext(ctx)
		telling.Wait()
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
