// SPDX-License-Identifier: Apache-2.0

// Package follow keeps node.json as the API server says: by the node's NodeConfig, or in want of one by its
// Node's podCIDRs.
package follow

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/nodejson"
	"flock.fritzlab.net/flock/internal/task"
)

// Follower is a task.
type Follower struct {
	// Node is the name of the node, and so of its NodeConfig.
	Node string
	// Path is that of node.json.
	Path string
	// Wait is how long after the start a NodeConfig may be expected to come.
	Wait time.Duration
	// PodCIDRs tells whether the Node's may serve in want of a NodeConfig.
	PodCIDRs bool
	// NodeConfigs is an informer on the one NodeConfig, which runs elsewhere. Nodes makes one on the Node,
	// which runs here while podCIDRs serve.
	NodeConfigs cache.SharedIndexInformer
	Nodes       func() cache.SharedIndexInformer
	// Report gets what is wrong, and nil when nothing is.
	Report func(error)
	// Wrote is called when node.json has changed.
	Wrote func()
	// Changed is called when [Follower.Config] returns something else.
	Changed func()
	Log     *slog.Logger

	trigger task.Trigger
	started time.Time
	nodes   cache.SharedIndexInformer // nil while podCIDRs do not serve
	leave   context.CancelFunc        // ends it
	running sync.WaitGroup

	mu     sync.Mutex
	config *v1alpha1.NodeConfig
	err    error
}

const (
	// grace is how long after the start it is no problem that nothing is known.
	grace = 2 * time.Second
	// rest is how long after a change nothing is done about another one.
	rest = 500 * time.Millisecond
	// interval is how long somebody else's change of node.json may last.
	interval = 30 * time.Second
)

// Name returns what the task is called.
func (f *Follower) Name() string { return "NodeConfig" }

// Config returns the NodeConfig, nil where there is none, and what is wrong with it or with writing
// node.json from it. It is not to be changed.
func (f *Follower) Config() (*v1alpha1.NodeConfig, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.config, f.err
}

// Run follows until the context ends.
func (f *Follower) Run(ctx context.Context) error {
	f.trigger, f.started = task.NewTrigger(), time.Now()
	defer f.running.Wait()
	if err := f.fireFor(ctx, f.NodeConfigs); err != nil {
		return fmt.Errorf("follow NodeConfig %s: %w", f.Node, err)
	}
	patience := time.AfterFunc(f.Wait, f.trigger.Fire)
	defer patience.Stop()
	select { // nothing is wrong yet
	case <-f.trigger:
	case <-time.After(min(f.Wait, grace)):
	case <-ctx.Done():
		return nil
	}
	return task.Loop(ctx, f.trigger, rest, interval, f.turn)
}

// fireFor has what an informer tells looked at, and also when it has told that there is nothing.
func (f *Follower) fireFor(ctx context.Context, informer cache.SharedIndexInformer) error {
	fire := func(any) { f.trigger.Fire() }
	handler := cache.ResourceEventHandlerFuncs{AddFunc: fire, UpdateFunc: func(_, _ any) { f.trigger.Fire() }, DeleteFunc: fire}
	if _, err := informer.AddEventHandler(handler); err != nil {
		return err
	}
	f.running.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			f.trigger.Fire()
		}
	})
	return nil
}

// turn brings node.json up to date.
func (f *Follower) turn(ctx context.Context) {
	config, found := get[*v1alpha1.NodeConfig](f.NodeConfigs, f.Node)
	var wrote bool
	var err error
	if found {
		f.leaveNode()
		wrote, err = nodejson.Keep(f.Path, config)
	} else {
		wrote, err = f.without(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	if wrote {
		f.Log.Info("wrote node.json", "path", f.Path, "from", f.from(found))
		f.Wrote()
	}
	f.Report(err)
	f.set(config, err)
}

func (f *Follower) from(nodeConfig bool) string {
	if nodeConfig {
		return "NodeConfig " + f.Node
	}
	return "podCIDRs of Node " + f.Node
}

func (f *Follower) set(config *v1alpha1.NodeConfig, err error) {
	f.mu.Lock()
	changed := f.config != config || fmt.Sprint(f.err) != fmt.Sprint(err)
	f.config, f.err = config, err
	f.mu.Unlock()
	if changed {
		f.Changed()
	}
}

// without does what is to be done without a NodeConfig.
func (f *Follower) without(ctx context.Context) (wrote bool, err error) {
	s := situation{
		node: f.Node, synced: f.NodeConfigs.HasSynced(), waited: time.Since(f.started) >= f.Wait, wait: f.Wait,
		podCIDRs: f.PodCIDRs, file: nodejson.OriginOf(f.Path),
	}
	if !s.fallsBack() {
		f.leaveNode()
		return false, s.problem()
	}
	if err := f.enterNode(ctx); err != nil {
		return false, err
	}
	node, found := get[*corev1.Node](f.nodes, f.Node)
	switch {
	case !found && !f.nodes.HasSynced():
		return false, fmt.Errorf("waiting for the podCIDRs of Node %s: NodeConfig %s does not exist", f.Node, f.Node)
	case !found:
		return false, fmt.Errorf("neither NodeConfig %s nor a Node of that name exists: create the NodeConfig", f.Node)
	case len(node.Spec.PodCIDRs) == 0:
		return false, fmt.Errorf("NodeConfig %s does not exist and Node %s has no podCIDRs: create the NodeConfig", f.Node, f.Node)
	}
	return nodejson.KeepPodCIDRs(f.Path, node.Spec.PodCIDRs)
}

// enterNode watches the Node.
func (f *Follower) enterNode(ctx context.Context) error {
	if f.nodes != nil {
		return nil
	}
	ctx, leave := context.WithCancel(ctx)
	informer := f.Nodes()
	if err := f.fireFor(ctx, informer); err != nil {
		leave()
		return fmt.Errorf("watch Node %s: %w", f.Node, err)
	}
	f.nodes, f.leave = informer, leave
	f.running.Go(func() { informer.RunWithContext(ctx) })
	return nil
}

func (f *Follower) leaveNode() {
	if f.nodes != nil {
		f.leave()
		f.nodes = nil
	}
}

// get returns what an informer holds of a name.
func get[T any](informer cache.SharedIndexInformer, name string) (object T, found bool) {
	held, found, err := informer.GetStore().GetByKey(name)
	if err != nil || !found {
		return object, false
	}
	object, found = held.(T)
	return object, found
}
