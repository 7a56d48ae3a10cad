// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// Addresses outside every pool, for the pods that ask for them.
var (
	fixed6   = netip.MustParseAddr("2001:db8:f::80")
	fixed4   = netip.MustParseAddr("10.80.0.80")
	anycast6 = netip.MustParseAddr("2001:db8:a::53")
	anycast4 = netip.MustParseAddr("10.53.0.53")
)

// withinRouter bounds how long the router may take to follow a change.
const withinRouter = 5 * time.Second

// showTable shows what the router's BIRD got by BGP, and wants the summaries and nothing of a pod's.
func showTable(ctx context.Context, d *demo) error {
	routes, err := d.lab.Router.Bird.Ask(ctx, "show route where source = RTS_BGP")
	if err != nil {
		return err
	}
	d.show("birdc show route where source = RTS_BGP    # in the router", routes)
	for _, n := range d.lab.Nodes {
		for _, pool := range []netip.Prefix{n.Pool6, n.Pool4} {
			if !strings.Contains(routes, pool.String()) {
				return fmt.Errorf("the summary %s of %s is not there", pool, n.Name)
			}
		}
	}
	if own := regexp.MustCompile(`\S+/(128|32)\b`).FindString(routes); own != "" {
		return fmt.Errorf("%s is there, which a summary covers", own)
	}
	return nil
}

func fixedAddress(ctx context.Context, d *demo) error {
	fixed, err := d.attach(ctx, d.lab.Nodes[0], "fixed", map[string]string{
		"flock.fritzlab.net/addresses": fixed6.String() + "," + fixed4.String(),
	})
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{fixed6, fixed4} {
		if err := d.awaitHops(ctx, a, d.lab.Nodes[0]); err != nil {
			return err
		}
	}
	v6, v4, err := d.lab.Router.PingPod(ctx, fixed.Pod)
	if err != nil {
		return err
	}
	d.say("router -> %s IPv6 %s, IPv4 %s", fixed, span(v6), span(v4))
	return nil
}

// anycast puts the same two addresses on a pod of each node.
func anycast(ctx context.Context, d *demo) error {
	for i, n := range d.lab.Nodes {
		p, err := d.attach(ctx, n, fmt.Sprintf("dns%d", i+1), map[string]string{
			"flock.fritzlab.net/anycast": anycast6.String() + "," + anycast4.String(),
		})
		if err != nil {
			return err
		}
		if d.services[p.Pod], err = p.Serve(ctx, p.String(), 53, anycast6, anycast4); err != nil {
			return err
		}
	}
	for _, a := range []netip.Addr{anycast6, anycast4} {
		if err := d.awaitHops(ctx, a, d.lab.Nodes...); err != nil {
			return err
		}
		if err := d.askAnycast(ctx, a, 2); err != nil {
			return err
		}
	}
	return nil
}

// withdraw deletes the first node's anycast pod.
func withdraw(ctx context.Context, d *demo) error {
	first := slices.IndexFunc(d.pods, func(p *pod) bool { return p.Pod.Pod.Name == "dns1" })
	if err := d.detach(ctx, d.pods[first]); err != nil {
		return err
	}
	for _, a := range []netip.Addr{anycast6, anycast4} {
		if err := d.awaitHops(ctx, a, d.lab.Nodes[1]); err != nil {
			return err
		}
		if err := d.askAnycast(ctx, a, 1); err != nil {
			return err
		}
	}
	return nil
}

// awaitHops waits until the router's kernel reaches the address by exactly these nodes, and shows how.
func (d *demo) awaitHops(ctx context.Context, a netip.Addr, nodes ...*lab.Node) error {
	start := time.Now()
	if err := d.lab.Router.AwaitHops(ctx, withinRouter, a, nodes...); err != nil {
		return err
	}
	took := time.Since(start)
	family := "-6"
	if a.Is4() {
		family = "-4"
	}
	routes, err := d.lab.Router.Run(ctx, "ip", family, "route", "show", a.String())
	if err != nil {
		return err
	}
	d.show("ip "+family+" route show "+a.String()+"    # in the router, "+span(took)+" later", routes)
	return nil
}

// askAnycast asks the address from 32 source ports, and wants answers of so many pods.
func (d *demo) askAnycast(ctx context.Context, a netip.Addr, pods int) error {
	answers := map[string]int{}
	for range 32 {
		name, err := d.lab.Router.Ask(ctx, "udp", netip.AddrPortFrom(a, 53))
		if err != nil {
			return err
		}
		answers[name]++
	}
	d.say("router asks %s 32 times over UDP; answers: %s", a, strings.TrimPrefix(fmt.Sprint(answers), "map"))
	if len(answers) != pods {
		return fmt.Errorf("%d pods answered at %s, not %d", len(answers), a, pods)
	}
	return nil
}
