// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/complain"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/follow"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/metrics"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/pods"
	"flock.fritzlab.net/flock/internal/filewatch"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/internal/task"
)

// Cluster says how to be a node of Kubernetes.
type Cluster struct {
	// Node is the name of the node.
	Node string
	// Kubeconfig is the path of one, empty inside a pod.
	Kubeconfig string
	// Socket is where flock-ipam asks for pods' annotations.
	Socket string
	// ConfigWait is how long after the start a NodeConfig may be expected to come.
	ConfigWait time.Duration
	// PodCIDRs tells whether the Node's may serve in want of a NodeConfig.
	PodCIDRs bool
}

func (c *Cluster) node() string {
	if c == nil {
		return ""
	}
	return c.Node
}

const (
	// component is what ipamd is called in Events and in the API server's logs, and manager as the owner of
	// fields of a status.
	component = "ipamd"
	manager   = "flock-ipamd"

	// maxLookups is far above the number of pods that a kubelet starts at once.
	maxLookups = 512
)

// member is a node of Kubernetes.
type member struct {
	*daemon
	client      *kube.Client
	pods        *pods.Index
	podInformer cache.SharedIndexInformer
	follower    *follow.Follower
	status      *kube.Status
	observe     task.Trigger // the status may have changed
}

// clusterTasks opens what can fail for good. stop ends what is not a task.
func (d *daemon) clusterTasks(ctx context.Context) (tasks []task.Task, stop func(), err error) {
	kube.LogTo(d.Log)
	stop = func() {}
	m := &member{daemon: d, observe: task.NewTrigger()}
	if m.client, err = kube.Connect(d.Cluster.Kubeconfig, component); err != nil {
		return nil, stop, err
	}
	open, err := d.open(ctx)
	if err != nil {
		return nil, stop, err
	}
	recorder, stop, err := kube.NewRecorder(m.client, component, d.Cluster.Node)
	if err != nil {
		return nil, func() {}, err
	}
	complainer := &complain.Complainer{Recorder: recorder, Node: func() (nodefile.Node, error) { return nodefile.Read(d.NodeFile) }}
	if err := m.watch(complainer); err != nil {
		return nil, stop, err
	}
	lookups := lookup.Server{Handle: metrics.Lookups(d.registry, m.pods.Find), Limit: maxLookups}
	return []task.Task{
		task.Func("lookups", func(ctx context.Context) error { return lookups.Run(ctx, open.lookups) }),
		task.Func("reports", func(ctx context.Context) error { return receive(ctx, open.reports, complainer) }),
		open.guard,
		task.Func("store", func(ctx context.Context) error { return open.store.Run(ctx, m.observe.Fire) }),
		m.watching(areaPods, m.podInformer, m.pods.Synced),
		m.watching(areaNodeConfigs, m.follower.NodeConfigs, m.follower.NodeConfigs.HasSynced),
		task.Func("usage", m.observing),
		m.follower,
		m.status,
	}, stop, nil
}

// opened is what ipamd hears the node by.
type opened struct {
	lookups net.Listener
	reports *report.Listener
	guard   task.Task
	store   *filewatch.Watcher
}

func (d *daemon) open(ctx context.Context) (o opened, err error) {
	if err := os.MkdirAll(d.StateDir, 0o755); err != nil {
		return o, fmt.Errorf("make the state folder: %w", err)
	}
	if o.lookups, err = lookup.Listen(ctx, d.Cluster.Socket); err != nil {
		return o, err
	}
	if o.reports, err = report.Listen(d.StateDir); err != nil {
		return o, fmt.Errorf("listen for reports: %w", err)
	}
	if o.guard, err = guard(d.Interval, d.Cluster.Socket, filepath.Join(d.StateDir, report.SocketName)); err != nil {
		return o, err
	}
	o.store, err = filewatch.Watch(filepath.Join(d.StateDir, "store.db"))
	return o, err
}

// watch makes the informers and those who hear of them. Nothing runs yet.
func (m *member) watch(complainer *complain.Complainer) error {
	m.podInformer = m.client.PodInformer(m.Cluster.Node)
	m.follower = &follow.Follower{
		Node: m.Cluster.Node, Path: m.NodeFile, Wait: m.Cluster.ConfigWait, PodCIDRs: m.Cluster.PodCIDRs,
		NodeConfigs: m.client.NodeConfigInformer(m.Cluster.Node),
		Nodes:       func() cache.SharedIndexInformer { return m.client.NodeInformer(m.Cluster.Node) },
		Report:      func(err error) { m.metrics.NodeConfig(err); m.health.Set(areaNodeConfig, err) },
		Wrote:       func() { m.metrics.NodeFileWritten(); m.observe.Fire() },
		Changed:     m.observe.Fire,
		Log:         m.Log,
	}
	m.status = kube.NewStatus(m.client, manager, func(err error) { m.health.Set(areaStatus, err) })

	var told cache.ResourceEventHandlerRegistration
	var err error
	m.pods = pods.New(func() bool { return told.HasSynced() })
	if told, err = m.podInformer.AddEventHandler(m.pods); err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	complainer.Find, m.gone = m.pods.Get, m.pods.Gone
	if _, err := m.podInformer.AddEventHandler(complainer); err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	contact := metrics.NewCluster(m.registry, map[string]func() bool{
		"pods": m.pods.Synced, "nodeconfigs": m.follower.NodeConfigs.HasSynced,
	}, m.pods.Len)
	m.client.OnContact(func(err error) { contact.Contact(err); m.health.Set(areaContact, err) })
	return nil
}
