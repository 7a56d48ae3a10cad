// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/plugins/cni"
)

const (
	// anycastEach is how many anycast addresses each of the pods has that are ready throughout.
	anycastEach = 10
	// flipping is the number of pods whose readiness is changed, in turn.
	flipping = 4
)

// The keys of what is measured with a real API server.
var (
	readyKey    = key{Subject: "pod's status sent to route at the router", Parallel: 1, Verb: "Ready:"}
	notReadyKey = key{Subject: "pod's status sent to route gone at the router", Parallel: 1, Verb: "NotReady:"}
	lookupKey   = key{Subject: "a pod over ipamd's socket", Parallel: 1, Verb: "look up"}
)

const readyNotes = `
Ready and NotReady: from just before the patch of a pod's status is sent to a real kube-apiserver, through
birdd and two BIRDs, to the message of the router's kernel, with %d other anycast addresses announced.
`

// measureReadiness announces anycast addresses of ready pods and then changes the readiness of others: from
// the moment when the patch of a pod's status is sent to the API server, to that in which the router's
// kernel tells of its route.
func (b *bench) measureReadiness(ctx context.Context) error {
	t := &tb{ctx: ctx, dir: b.dir}
	return t.run(func() error {
		c, err := b.newCluster(t)
		if err != nil {
			return err
		}
		if err := b.announceMany(ctx, c); err != nil {
			return err
		}
		pods, err := b.attachFlipping(ctx, c)
		if err != nil {
			return err
		}
		if err := b.measureLookups(ctx, c, pods); err != nil {
			return err
		}
		return b.measureFlips(ctx, c, pods)
	})
}

// announceMany attaches pods that are ready and waits until the router has all their addresses.
func (b *bench) announceMany(ctx context.Context, c *cluster) error {
	b.say("%d anycast addresses of %d ready pods", b.Anycast, b.Anycast/anycastEach)
	for i := range b.Anycast / anycastEach {
		addrs := make([]netip.Addr, anycastEach)
		for j := range addrs {
			addrs[j] = fixedAddress(i*anycastEach + j)
		}
		pod, err := c.attach(ctx, fmt.Sprintf("many%d", i), addrs...)
		if err != nil {
			return err
		}
		c.api.SetReady(c.t, pod, true)
	}
	for i := range b.Anycast {
		if err := c.Router.AwaitHops(ctx, 30*time.Second, fixedAddress(i), c.node); err != nil {
			return err
		}
	}
	return nil
}

// attachFlipping attaches the pods whose readiness is to change, with the addresses after the announced ones.
func (b *bench) attachFlipping(ctx context.Context, c *cluster) ([]*corev1.Pod, error) {
	var pods []*corev1.Pod
	for i := range flipping {
		pod, err := c.attach(ctx, fmt.Sprintf("flip%d", i), fixedAddress(b.Anycast+i))
		if err != nil {
			return nil, err
		}
		pods = append(pods, pod)
	}
	return pods, nil
}

func (b *bench) measureLookups(ctx context.Context, c *cluster, pods []*corev1.Pod) error {
	socket := filepath.Join(c.node.StateDir(), "ipamd.sock")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for i := range b.Flips {
		p := pods[i%len(pods)]
		start := time.Now()
		_, err := lookup.Ask(ctx, socket, cni.Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)})
		if err != nil {
			return err
		}
		b.report.note(lookupKey, time.Since(start))
	}
	return nil
}

func (b *bench) measureFlips(ctx context.Context, c *cluster, pods []*corev1.Pod) error {
	done := make(chan struct{})
	defer close(done)
	arrived, err := watch(c.Router.Netns, unix.RT_TABLE_MAIN, done)
	if err != nil {
		return err
	}
	for i := range b.Flips {
		pod, addr := pods[i%len(pods)], fixedAddress(b.Anycast+i%len(pods))
		for _, step := range []struct {
			ready   bool
			message uint16
			key     key
		}{{true, unix.RTM_NEWROUTE, readyKey}, {false, unix.RTM_DELROUTE, notReadyKey}} {
			start := time.Now()
			c.api.SetReady(c.t, pod, step.ready)
			at, err := await(ctx, arrived, addr, step.message)
			if err != nil {
				return fmt.Errorf("%s %s: %w", step.key.Verb, addr, err)
			}
			b.report.note(step.key, at.Sub(start))
		}
	}
	return nil
}

// readyLimits are those of what is measured with a real API server.
func (r *report) readyLimits() []limit {
	var list []limit
	for _, k := range []key{readyKey, notReadyKey} {
		s := r.series(k)
		what := k.Verb + " " + k.Subject
		list = append(list, ratio(what+", p50 in ms", s.P50, 1, 50), ratio(what+", p99 in ms", s.P99, 1, 200))
	}
	return append(list, ratio("lookup over ipamd's socket in ms", r.p50(lookupKey), 1, 1))
}
