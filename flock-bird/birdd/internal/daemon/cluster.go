// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/anycast"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/availability"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/secret"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/source"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/verdict"
	"flock.fritzlab.net/flock/internal/hint"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/task"
)

// fieldManager owns what birdd writes into NodeConfig.status.
const fieldManager = "flock-birdd"

// Cluster is where birdd finds the API server, and itself in it.
type Cluster struct {
	Client *kube.Client
	// Node is the name of the node, and of its NodeConfig.
	Node string
	// SecretNamespace has the Secrets that peers name.
	SecretNamespace string
	// UnavailableAfter is how long the node's summaries may be unannounced, where they were, before its
	// network is called unavailable.
	UnavailableAfter time.Duration
}

// cluster is what there is more of birdd where there is Kubernetes.
type cluster struct {
	object    *source.Object
	status    *kube.Status
	available *availability.Keeper
	anycast   *anycast.Keeper
}

// join makes what birdd needs of the API server and returns what follows it.
func (d *daemon) join(conn *rtnl.Conn) ([]task.Task, error) {
	o := *d.Options.Cluster
	o.Client.OnContact(func(err error) { d.health.Set(areaServer, err) })
	reporter := func(area string) func(error) { return func(err error) { d.health.Set(area, err) } }
	pods := o.Client.PodInformer(o.Node)
	c := &cluster{
		object:    source.NewObject(o.Client, o.Node, d.refused(areaNodeConfigs)),
		status:    kube.NewStatus(o.Client, fieldManager, reporter(areaStatus)),
		available: availability.New(o.Client, o.Node, o.UnavailableAfter, d.refused(areaNode)),
		anycast: anycast.New(anycast.Options{
			Conn: conn, Store: rebuild.Store(d.StateDir), Pods: pods, Log: d.Log,
			Problem: reporter(areaAnycast), Changed: d.looks.Fire, Alive: d.health.Loop("anycast", loopLimit),
		}),
	}
	// A pod that comes to a Node which was made anew is to find the condition there. Nothing else tells of
	// such a Node.
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{AddFunc: func(_ any, isInInitialList bool) {
		if !isInInitialList {
			c.available.Verify()
		}
	}})
	if err != nil {
		return nil, err
	}
	hints, err := hint.Listen(d.StateDir)
	if err != nil {
		return nil, err
	}
	secrets := secret.NewReader(o.Client, o.SecretNamespace, d.sessions.changed)
	d.cluster, d.source, d.sessions.passwords = c, c.object, secrets
	return []task.Task{
		task.Func("source", func(ctx context.Context) error { return c.object.Run(ctx, d.sourced.Fire) }),
		task.Func("pods", func(ctx context.Context) error {
			kube.Watch(ctx, pods, pods.HasSynced, d.refused(areaPods))
			return nil
		}),
		task.Func("hints", func(ctx context.Context) error { return c.takeHints(ctx, hints) }),
		secrets, c.status, c.available, c.anycast,
	}, nil
}

// refused returns what notes that the API server refuses something. That it does not answer is an area of its own.
func (d *daemon) refused(area string) func(error) {
	return func(err error) {
		if err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
			d.health.Set(area, err)
		}
	}
}

// takeHints hands on which attachments have come or gone.
func (c *cluster) takeHints(ctx context.Context, hints *hint.Listener) error {
	defer context.AfterFunc(ctx, func() { hints.Close() })()
	for {
		hint, err := hints.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		c.anycast.Attachment(hint.Attachment)
	}
}

// How many anycast addresses a NodeConfig's status may list, and how many pods of each.
const maxAnycast, maxPods = 1024, 256

// publish tells the API server what was seen.
func (c *cluster) publish(seen verdict.Seen) {
	if seen.Config != nil {
		c.available.Set(verdict.Reachable(seen))
	}
	nodeConfig := c.object.Get()
	if nodeConfig == nil {
		return
	}
	status := v1alpha1.NodeConfigStatus{Anycast: bounded(c.anycast.Snapshot())}
	if nodeConfig.Spec.BGP != nil { // without BGP ipamd alone says how the node is
		poolsReady := meta.FindStatusCondition(nodeConfig.Status.Conditions, v1alpha1.ConditionPoolsReady)
		status.Conditions = verdict.Conditions(seen, poolsReady)
		status.Peers = verdict.Peers(seen)
		keepSince(status.Peers, nodeConfig.Status.Peers)
		status.Sessions = v1alpha1.Sessions(status.Peers)
	}
	c.status.Set(nodeConfig, status)
}

// bounded returns as much as the API server takes.
func bounded(all []v1alpha1.AnycastStatus) []v1alpha1.AnycastStatus {
	all = all[:min(len(all), maxAnycast)]
	for i, a := range all {
		all[i].Pods = a.Pods[:min(len(a.Pods), maxPods)]
	}
	return all
}

// keepSince keeps the time of a state that only seems to have moved: BIRD reckons it anew from two clocks each time
// that it is asked.
func keepSince(now, before []v1alpha1.PeerStatus) {
	for i, p := range now {
		for _, b := range before {
			if b.Name == p.Name && b.State == p.State && b.Since != nil && p.Since != nil && p.Since.Sub(b.Since.Time).Abs() <= time.Second {
				now[i].Since = b.Since
			}
		}
	}
}
