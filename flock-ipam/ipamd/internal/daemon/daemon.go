// SPDX-License-Identifier: Apache-2.0

// Package daemon is what "ipamd run" does: a list of tasks.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/allocators"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/metrics"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/reconcile"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/usage"
	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/health"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Options say where everything is.
type Options struct {
	// Cluster is for a node of Kubernetes, nil for one without.
	Cluster *Cluster
	// ConfigFile is the NodeConfig of a node without Kubernetes, empty where node.json is written by
	// somebody else.
	ConfigFile string
	NodeFile   string
	StateDir   string
	// Socket is where flock-ipam asks for pods' annotations and for addresses that extensions give.
	Socket string
	// Extensions is the folder of the extensions' programs.
	Extensions string
	// Interval is the time from one comparison to the next.
	Interval time.Duration
	// Listen is the address of health endpoints and metrics, empty for none.
	Listen string
	Log    *slog.Logger
}

// The areas of health.
const (
	areaNodeConfig  = "NodeConfig"
	areaReconcile   = "reconcile"
	areaUnseen      = "network namespaces"
	areaContact     = "API server"
	areaPods        = "watch of pods"
	areaNodeConfigs = "watch of NodeConfigs"
	areaStatus      = "status"
)

// namesName is the file beside node.json that names the allocators which may have given something.
const namesName = "allocator-names.json"

const (
	// rest is how long after a change of the NodeConfig's file nothing is done about another one.
	rest = 500 * time.Millisecond
	// patience is the least time that a round may take before the daemon is taken for stuck.
	patience = 5 * time.Minute
)

// stages are flock's programs that note claims in the store.
var stages = []string{"flock-route", announce.Stage}

// Run works until the context ends, and then leaves everything as it is.
func Run(ctx context.Context, o Options) error {
	if o.Interval <= rest {
		return fmt.Errorf("interval %s is too short: more than %s is wanted", o.Interval, rest)
	}
	d := newDaemon(o)
	tasks, stop, err := d.tasks(ctx)
	defer stop()
	if err != nil {
		return err
	}
	o.Log.Info("ipamd runs", "config", o.ConfigFile, "node", o.Cluster.node(), "nodeFile", o.NodeFile, "stateDir", o.StateDir, "interval", o.Interval.String())
	return task.Run(ctx, tasks...)
}

// daemon is what tasks share.
type daemon struct {
	Options
	health     *health.Health
	registry   *prometheus.Registry
	metrics    *metrics.Daemon
	extensions *extension.Metrics
	gone       func(cni.Pod) bool // nil without Kubernetes

	allocators *allocators.Allocators
}

func newDaemon(o Options) *daemon {
	needs := []string{areaReconcile}
	switch {
	case o.Cluster != nil:
		needs = append(needs, areaNodeConfig, areaNodeConfigs, areaPods)
	case o.ConfigFile != "":
		needs = append(needs, areaNodeConfig)
	}
	d := &daemon{Options: o, health: health.New(o.Log, needs...), registry: health.NewRegistry()}
	d.metrics = metrics.New(d.registry)
	d.extensions = extension.NewMetrics(component)
	d.registry.MustRegister(metrics.Store{Read: d.read}, d.extensions)
	return d
}

// tasks opens what can fail for good before anything runs. stop ends what is not a task.
func (d *daemon) tasks(ctx context.Context) (tasks []task.Task, stop func(), err error) {
	stop = func() {}
	if d.Listen != "" { // first of all: where another ipamd runs, this ends the new one before it takes over a socket
		listener, err := health.Listen(ctx, d.Listen)
		if err != nil {
			return nil, stop, err
		}
		tasks = append(tasks, task.Func("health", func(ctx context.Context) error { return d.health.Serve(ctx, listener, d.registry) }))
	}
	if err := os.MkdirAll(d.StateDir, 0o755); err != nil {
		return nil, stop, fmt.Errorf("make the state folder: %w", err)
	}
	var more []task.Task
	switch {
	case d.Cluster != nil:
		more, stop, err = d.clusterTasks(ctx)
	case d.ConfigFile != "":
		more, err = d.fileTasks(ctx)
	default:
		more, err = d.nodeTasks(ctx)
	}
	if err == nil {
		d.allocators.CoolDown, d.allocators.Names = d.coolDown, filepath.Join(filepath.Dir(d.NodeFile), namesName)
	}
	return append(append(tasks, task.Func("reconcile", d.reconcile)), more...), stop, err
}

func (d *daemon) reconcile(ctx context.Context) error {
	r := &reconcile.Reconciler{
		Store:     d.store(),
		Witnesses: []reconcile.Witness{reconcile.Netns, reconcile.Links},
		Routes:    reconcile.KernelRoutes,
		Pools:     d.pools,
		Gone:      d.gone,
		Stages:    stages,
		SinceBoot: store.SinceBoot,
		Log:       d.Log,
	}
	told := map[string]bool{}
	alive := d.health.Loop("reconcile", max(10*d.Interval, patience))
	return task.Loop(ctx, nil, rest, d.Interval, func(ctx context.Context) {
		done, err := r.Round(ctx)
		err = errors.Join(err, d.tellDamaged(told))
		d.metrics.Round(done, errors.Join(err, done.Unseen))
		d.health.Set(areaReconcile, err)
		if err == nil || done.Unseen != nil {
			d.health.Set(areaUnseen, done.Unseen) // nothing waits for it: it may be so until the node is rebooted
		}
		alive()
	})
}

// tellDamaged tells once of each damaged store that was kept, whoever kept it.
func (d *daemon) tellDamaged(told map[string]bool) error {
	damaged, err := d.store().Damaged()
	for _, path := range damaged {
		if !told[path] {
			d.Log.Error("a damaged store was kept", "path", path)
		}
		told[path] = true
	}
	return err
}

func (d *daemon) store() store.Store {
	s := rebuild.Store(d.StateDir)
	s.Warn = func(text string) { d.Log.Error("store repaired", "problem", text) }
	return s
}

// node returns what node.json says, which is no pools before there is one.
func (d *daemon) node() (nodefile.Node, error) {
	node, err := nodefile.Read(d.NodeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nodefile.Spec{}.Parse()
	}
	return node, err
}

// coolDown returns the usual one where node.json tells none.
func (d *daemon) coolDown() time.Duration {
	if node, err := d.node(); err == nil {
		return node.CoolDown
	}
	return nodefile.DefaultCoolDown
}

func (d *daemon) pools() ([]pool.Pool, error) {
	node, err := d.node()
	return node.Pools, err
}

// read returns how the pools of node.json are used, and what became of ADDs. It leaves a damaged store to the next
// comparison.
func (d *daemon) read() (u usage.Usage, counters store.Counters, err error) {
	node, err := d.node()
	if err != nil {
		return u, counters, err
	}
	s := d.store()
	s.ReadOnly = true
	err = s.View(func(tx *store.Tx) error {
		if u, err = usage.Count(tx, node, store.SinceBoot()); err != nil {
			return err
		}
		counters, err = tx.Counters()
		return err
	})
	return u, counters, err
}
