// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/nodejson"
	"flock.fritzlab.net/flock/internal/filewatch"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/cni"
)

// fileTasks follow a NodeConfig in a file.
func (d *daemon) fileTasks(ctx context.Context) ([]task.Task, error) {
	watcher, err := filewatch.Watch(d.ConfigFile)
	if err != nil {
		return nil, err
	}
	changed := task.NewTrigger()
	tasks, err := d.nodeTasks(ctx)
	return append(tasks,
		task.Func("NodeConfig file", func(ctx context.Context) error { return watcher.Run(ctx, changed.Fire) }),
		task.Func("node.json", func(ctx context.Context) error { return d.keepNodeFile(ctx, changed) }),
	), err
}

// nodeTasks are those of a node without Kubernetes, whoever writes node.json.
func (d *daemon) nodeTasks(ctx context.Context) ([]task.Task, error) {
	return d.answering(ctx, noPods, nameOnly, func() {})
}

// noPods is what flock-ipam is told that asks for a pod's annotations.
func noPods(context.Context, cni.Pod) (lookup.Answer, error) {
	return lookup.Answer{}, errors.New("it runs without Kubernetes and knows no pods")
}

// nameOnly is what an allocator is told of a pod.
func nameOnly(_ context.Context, pod cni.Pod) (allocator.Pod, error) {
	return allocator.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}, nil
}

// keepNodeFile writes node.json as the NodeConfig says. With a NodeConfig that is wrong, or none, the last
// node.json stays.
func (d *daemon) keepNodeFile(ctx context.Context, changed task.Trigger) error {
	return task.Loop(ctx, changed, rest, d.Interval, func(context.Context) {
		config, err := v1alpha1.Load(d.ConfigFile)
		var wrote bool
		if err == nil {
			wrote, err = nodejson.Keep(d.NodeFile, config)
		}
		if wrote {
			d.Log.Info("wrote node.json", "path", d.NodeFile, "pools", len(config.Spec.Pools))
			d.metrics.NodeFileWritten()
		}
		d.metrics.NodeConfig(err)
		d.health.Set(areaNodeConfig, err)
	})
}
