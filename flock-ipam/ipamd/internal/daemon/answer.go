// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/allocators"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/reconcile"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/filewatch"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/cni"
)

// maxLookups is far above the number of pods that a kubelet starts at once.
const maxLookups = 512

// rosterName is the file in the state folder that names the allocators which may have given something.
const rosterName = "allocators.json"

// describe returns a pod as an allocator is told of it.
type describe = func(context.Context, cni.Pod) (allocator.Pod, error)

// answering opens what flock-ipam asks at, and returns the tasks that answer. changed is called when the store or the
// allocators may have changed. Others' sockets are guarded with the own one.
func (d *daemon) answering(ctx context.Context, find lookup.Handler, pod describe, changed func(), others ...string) ([]task.Task, error) {
	listener, err := lookup.Listen(ctx, d.Socket)
	if err != nil {
		return nil, err
	}
	guard, err := guard(d.Interval, append(others, d.Socket)...)
	if err != nil {
		return nil, err
	}
	stored, err := filewatch.Watch(filepath.Join(d.StateDir, "store.db"))
	if err != nil {
		return nil, err
	}
	pools, err := watchMade(d.NodeFile)
	if err != nil {
		return nil, err
	}
	d.allocators = d.newAllocators(pod, changed)
	server := lookup.Server{Handle: find, Allocators: d.allocators, Limit: maxLookups}
	return []task.Task{
		task.Func("lookups", func(ctx context.Context) error { return server.Run(ctx, listener) }),
		guard,
		task.Func("store", func(ctx context.Context) error {
			return stored.Run(ctx, func() { changed(); d.allocators.StoreChanged() })
		}),
		task.Func("pools", func(ctx context.Context) error { return pools.Run(ctx, d.allocators.PoolsChanged) }),
		d.allocators,
	}, nil
}

// watchMade watches a file whose folder is made if it is missing.
func watchMade(path string) (*filewatch.Watcher, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of node.json: %w", err)
	}
	return filewatch.Watch(path)
}

func (d *daemon) newAllocators(pod describe, changed func()) *allocators.Allocators {
	a := allocators.New()
	a.Node, a.Pools, a.Store, a.Describe, a.Changed = d.nodeName(), d.pools, d.store(), pod, changed
	a.Routed, a.Roster, a.Interval = reconcile.HostRoute, filepath.Join(d.StateDir, rosterName), d.Interval
	a.SinceBoot, a.Report, a.Log = store.SinceBoot, d.health.Set, d.Log
	a.Launch = func(name string, changed func()) allocators.Extension {
		return extension.NewSupervisor(extension.Options{
			Kind: extension.Kind{Name: allocator.Kind, Handshake: allocator.Handshake, Versions: allocator.VersionedPlugins},
			Name: name, Dir: extension.Dir{Path: d.Extensions}, Folder: d.StateDir, Env: d.environment(name),
			Changed: changed, Metrics: d.extensions, Log: d.Log,
		})
	}
	return a
}

// nodeName is what allocators know the node by.
func (d *daemon) nodeName() string {
	if name := d.Cluster.node(); name != "" {
		return name
	}
	name, _ := os.Hostname()
	return name
}

// inCluster are the variables by which a pod's container finds the API server.
var inCluster = []string{"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBECONFIG"}

// environment returns what an extension may know: the node, the way to the API server, and what is meant for it.
func (d *daemon) environment(name string) []string {
	prefix := strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_"
	env := []string{"NODE_NAME=" + d.nodeName()}
	for _, variable := range os.Environ() {
		key, _, _ := strings.Cut(variable, "=")
		for _, known := range inCluster {
			if key == known {
				env = append(env, variable)
			}
		}
		if strings.HasPrefix(key, prefix) {
			env = append(env, variable)
		}
	}
	if d.Cluster != nil && d.Cluster.Kubeconfig != "" {
		env = append(env, "KUBECONFIG="+d.Cluster.Kubeconfig)
	}
	return env
}
