// SPDX-License-Identifier: Apache-2.0

// Package anycast announces the anycast addresses of a node's pods while their pods are ready, and withdraws
// them when they are not any more.
//
// Who has which addresses is in flock-bird's claims, who is ready in the informer of the node's pods, and what
// is announced in the kernel. A [Keeper] compares the three: one pod's claims when something is told of the
// pod, all of them at the start and every 30 s. It has no state of its own that a restart could lose.
//
// As long as the informer has not synced, nothing is changed. While the API server is away the informer tells
// nothing new, and so nothing announced is withdrawn. A claim that is marked immediate is flock-bird's own
// matter: the keeper reports it and leaves it alone.
package anycast

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/cni"
)

// The rhythm of the comparisons of everything: every interval, at once when something was missed, and never
// two within rest; after an error within rest, and later and later while it lasts.
const (
	interval = 30 * time.Second
	rest     = time.Second
)

// Options are what a keeper works with.
type Options struct {
	// Conn writes the routes of the network namespace that it was dialled in.
	Conn *rtnl.Conn
	// Store has the claims of the node's attachments.
	Store store.Store
	// Pods is the informer of the node's pods. Somebody else runs it.
	Pods cache.SharedIndexInformer
	Log  *slog.Logger
	// Problem is told what is wrong, and nil when everything was compared and is right.
	Problem func(error)
	// Changed is told that [Keeper.Snapshot] may return something new, Alive that the keeper works.
	Changed, Alive func()
}

// Keeper is the task that keeps the announcements of anycast addresses right.
type Keeper struct {
	Options
	board  *announce.Board
	routes claim.Keeper // flock-route's claims
	queue  queue
	synced atomic.Bool
	early  task.Trigger // compare everything before the interval is over

	mu    sync.Mutex // held to change the index, and by others than Run to read it
	index index
}

// New returns a keeper that does nothing before [Keeper.Run].
func New(o Options) *Keeper {
	return &Keeper{
		Options: o,
		board:   announce.NewBoard(o.Conn, o.Store),
		routes:  claim.Keeper{Store: o.Store, Stage: routeStage},
		queue:   newQueue(),
		early:   task.NewTrigger(),
		index:   newIndex(),
	}
}

// Name returns the task's name.
func (k *Keeper) Name() string { return "anycast" }

// Attachment tells that an attachment has come or gone, as a hint of flock-bird's does.
func (k *Keeper) Attachment(a cni.Attachment) { k.queue.add(item{attachment: a}) }

// Run works until the context ends, and then leaves every announcement as it is.
func (k *Keeper) Run(ctx context.Context) error {
	changed := func(obj any) {
		if name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
			k.queue.add(item{pod: name})
		}
	}
	handler, err := k.Pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, obj any) { changed(obj) }, DeleteFunc: changed,
	})
	if err != nil {
		return fmt.Errorf("watch the node's pods: %w", err)
	}
	defer k.Pods.RemoveEventHandler(handler)
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			k.synced.Store(true)
			k.early.Fire()
		}
	}()
	k.work(ctx)
	return nil
}

// work does what there is to do, one thing after another.
func (k *Keeper) work(ctx context.Context) {
	var compared time.Time
	again := rest             // after an error
	timer := time.NewTimer(0) // of the next comparison
	defer timer.Stop()
	for {
		k.Alive()
		select {
		case <-ctx.Done():
			return
		case <-k.queue.ready:
			if !k.handle(k.queue.take()) {
				timer.Reset(time.Until(compared.Add(rest)))
			}
			k.Changed()
			continue
		case <-k.early:
		case <-timer.C:
		}
		err := k.compare()
		compared = time.Now()
		k.Problem(err)
		k.Changed()
		if err == nil {
			timer.Reset(interval)
			again = rest
			continue
		}
		timer.Reset(again)
		again = min(2*again, interval)
	}
}

// handle does what was queued, and tells whether nothing is left that only a comparison of everything finds.
func (k *Keeper) handle(items []item) bool {
	var errs []error
	whole := true
	for _, it := range items {
		if it.pod == "" {
			errs = append(errs, k.learn(it.attachment), k.settle(it.attachment))
			continue
		}
		for _, a := range k.index.of(it.pod) {
			errs = append(errs, k.settle(a))
		}
		whole = whole && !k.missing(it.pod)
	}
	err := some(errs)
	if err != nil {
		k.Problem(err)
	}
	return whole && err == nil
}
