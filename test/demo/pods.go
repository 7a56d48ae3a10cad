// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// attach makes a pod on the node, runs ADD for it and tells its addresses.
func (d *demo) attach(ctx context.Context, n *lab.Node, name string, annotations map[string]string) (*pod, error) {
	made, err := n.NewPod(name, annotations)
	if err != nil {
		return nil, err
	}
	p := &pod{made, n}
	start := time.Now()
	if err := n.Runtime.Add(ctx, p.Pod); err != nil {
		return nil, err
	}
	took := time.Since(start)
	d.pods = append(d.pods, p)
	addresses := strings.Trim(fmt.Sprint(p.Addresses()), "[]")
	d.say("%-12s ADD %s  %s", p, span(took), addresses)
	return p, nil
}

// detach runs DEL for the pod and removes its namespace, in the order of a container runtime.
func (d *demo) detach(ctx context.Context, p *pod) error {
	if s := d.services[p.Pod]; s != nil {
		delete(d.services, p.Pod)
		if err := s.Close(); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := p.node.Runtime.Del(ctx, p.Pod); err != nil {
		return err
	}
	d.say("%-12s DEL %s", p, span(time.Since(start)))
	d.pods = slices.DeleteFunc(d.pods, func(other *pod) bool { return other == p })
	return p.Delete()
}

func attachPods(ctx context.Context, d *demo) error {
	for i, n := range d.lab.Nodes {
		for j := range 3 {
			if _, err := d.attach(ctx, n, fmt.Sprintf("web%d", 3*i+j+1), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// pingAll pings every pod from every other one and from the router, over both families.
func pingAll(ctx context.Context, d *demo) error {
	count := 0
	for _, from := range d.pods {
		for _, to := range d.pods {
			if from == to {
				continue
			}
			v6, v4, err := from.PingPod(ctx, to.Pod)
			if err != nil {
				return err
			}
			count += 2
			if from == d.pods[0] {
				d.say("%-12s -> %-12s IPv6 %s, IPv4 %s", from, to, span(v6), span(v4))
			}
		}
	}
	for _, to := range d.pods {
		v6, v4, err := d.lab.Router.PingPod(ctx, to.Pod)
		if err != nil {
			return err
		}
		count += 2
		d.say("%-12s -> %-12s IPv6 %s, IPv4 %s", "router", to, span(v6), span(v4))
	}
	d.say("%d pings in all: every pod to every other one, and the router to each; each answered", count)
	return nil
}

// detachAll deletes what is still attached and compares each node with what it was before the first pod.
func detachAll(ctx context.Context, d *demo) error {
	for len(d.pods) > 0 {
		if err := d.detach(ctx, d.pods[len(d.pods)-1]); err != nil {
			return err
		}
	}
	for _, n := range d.lab.Nodes {
		err := lab.Within(ctx, 5*time.Second, n.Name+" is as it was before its first pod", func() error {
			after, err := n.State(ctx)
			if err != nil {
				return err
			}
			if diff := lab.Difference(d.before[n], after); len(diff) > 0 {
				return fmt.Errorf("it differs:\n%s", strings.Join(diff, "\n"))
			}
			return nil
		})
		if err != nil {
			return err
		}
		d.say("%s: links, addresses, routes of every table, rules, nexthop objects, neighbours: as", n.Name)
		d.say("       before the first pod, %d lines compared; allocations: none", len(d.before[n]))
	}
	return nil
}
