// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/complain"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/follow"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/metrics"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/pods"
	"flock.fritzlab.net/flock/internal/kube"
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
	reports, err := report.Listen(d.StateDir)
	if err != nil {
		return nil, stop, fmt.Errorf("listen for reports: %w", err)
	}
	recorder, stop, err := kube.NewRecorder(m.client, component, d.Cluster.Node)
	if err != nil {
		return nil, func() {}, err
	}
	complainer := &complain.Complainer{Recorder: recorder, Node: func() (nodefile.Node, error) { return nodefile.Read(d.NodeFile) }}
	if err := m.watch(complainer); err != nil {
		return nil, stop, err
	}
	tasks, err = d.answering(ctx, metrics.Lookups(d.registry, m.pods.Find), m.describe, m.observe.Fire, filepath.Join(d.StateDir, report.SocketName))
	return append(tasks,
		task.Func("reports", func(ctx context.Context) error { return receive(ctx, reports, complainer) }),
		m.watching(areaPods, m.podInformer, m.pods.Synced),
		m.watching(areaNodeConfigs, m.follower.NodeConfigs, m.follower.NodeConfigs.HasSynced),
		task.Func("usage", m.observing),
		m.follower,
		m.status,
	), stop, err
}

// watch makes the informers and those who hear of them. Nothing runs yet.
func (m *member) watch(complainer *complain.Complainer) error {
	m.podInformer = m.client.LabelledPodInformer(m.Cluster.Node)
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
