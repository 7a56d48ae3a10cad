// SPDX-License-Identifier: Apache-2.0

// Package daemon is what "ipamd run" does: a list of tasks.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/nodejson"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/reconcile"
	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/filewatch"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/internal/task"
)

// Options say where everything is.
type Options struct {
	// ConfigFile is the NodeConfig, empty where node.json is written by somebody else.
	ConfigFile string
	NodeFile   string
	StateDir   string
	// Interval is the time from one comparison to the next.
	Interval time.Duration
	// Listen is the address of the health endpoints, empty for none.
	Listen string
	Log    *slog.Logger
}

// The areas of health.
const (
	areaNodeConfig = "NodeConfig"
	areaReconcile  = "reconcile"
)

// rest is how long after a change of the NodeConfig's file nothing is done about another one.
const rest = 500 * time.Millisecond

// stages are flock's programs that note claims in the store.
var stages = []string{"flock-route", announce.Stage}

// Run works until the context ends, and then leaves everything as it is.
func Run(ctx context.Context, o Options) error {
	if o.Interval <= rest {
		return fmt.Errorf("interval %s is too short: more than %s is wanted", o.Interval, rest)
	}
	tasks, err := o.tasks(ctx)
	if err != nil {
		return err
	}
	o.Log.Info("ipamd runs", "config", o.ConfigFile, "nodeFile", o.NodeFile, "stateDir", o.StateDir, "interval", o.Interval.String())
	return task.Run(ctx, tasks...)
}

// tasks opens what can fail for good before anything runs.
func (o Options) tasks(ctx context.Context) ([]task.Task, error) {
	areas := []string{areaReconcile}
	if o.ConfigFile != "" {
		areas = append(areas, areaNodeConfig)
	}
	health := newHealth(o.Log, areas...)
	tasks := []task.Task{task.Func("reconcile", func(ctx context.Context) error { return o.reconcile(ctx, health) })}
	if o.ConfigFile != "" {
		watcher, err := filewatch.Watch(o.ConfigFile)
		if err != nil {
			return nil, err
		}
		changed := task.NewTrigger()
		tasks = append(tasks,
			task.Func("NodeConfig file", func(ctx context.Context) error { return watcher.Run(ctx, changed.Fire) }),
			task.Func("node.json", func(ctx context.Context) error { return o.keepNodeFile(ctx, changed, health) }))
	}
	if o.Listen == "" {
		return tasks, nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for health checks: %w", err)
	}
	return append(tasks, task.Func("health", func(ctx context.Context) error { return health.serve(ctx, listener) })), nil
}

// keepNodeFile writes node.json as the NodeConfig says. With a NodeConfig that is wrong, or none, the last
// node.json stays.
func (o Options) keepNodeFile(ctx context.Context, changed task.Trigger, health *health) error {
	return task.Loop(ctx, changed, rest, o.Interval, func(context.Context) {
		config, err := v1alpha1.Load(o.ConfigFile)
		var wrote bool
		if err == nil {
			wrote, err = nodejson.Keep(o.NodeFile, config)
		}
		if wrote {
			o.Log.Info("wrote node.json", "path", o.NodeFile, "pools", len(config.Spec.Pools))
		}
		health.set(areaNodeConfig, err)
	})
}

func (o Options) reconcile(ctx context.Context, health *health) error {
	r := &reconcile.Reconciler{
		Store:     o.store(),
		Witnesses: []reconcile.Witness{reconcile.Netns, reconcile.Links},
		Routes:    reconcile.KernelRoutes,
		Pools:     o.pools,
		Stages:    stages,
		SinceBoot: store.SinceBoot,
		Log:       o.Log,
	}
	told := map[string]bool{}
	return task.Loop(ctx, nil, rest, o.Interval, func(ctx context.Context) {
		health.set(areaReconcile, errors.Join(r.Round(ctx), o.tellDamaged(told)))
	})
}

// tellDamaged tells once of each damaged store that was kept, whoever kept it.
func (o Options) tellDamaged(told map[string]bool) error {
	damaged, err := o.store().Damaged()
	for _, path := range damaged {
		if !told[path] {
			o.Log.Error("a damaged store was kept", "path", path)
		}
		told[path] = true
	}
	return err
}

func (o Options) store() store.Store {
	s := rebuild.Store(o.StateDir)
	s.Warn = func(text string) { o.Log.Error("store repaired", "problem", text) }
	return s
}

// pools returns the node's pools; none before there is a node.json.
func (o Options) pools() ([]pool.Pool, error) {
	node, err := nodefile.Read(o.NodeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return node.Pools, err
}
