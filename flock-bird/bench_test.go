// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// BenchmarkPropagation measures from before the netlink message that announces or withdraws an address to
// the change in the router's kernel: through the node's BIRD, BGP and the router's BIRD.
func BenchmarkPropagation(b *testing.B) {
	n := newNetwork(b, "v1")
	for _, address := range []string{"2001:db8:f::1", "10.5.0.1"} {
		b.Run(address, func(b *testing.B) {
			addr := netip.MustParseAddr(address)
			events := n.events(b, addr)
			var announced, withdrawn []time.Duration
			n.Netlink(func(c *rtnl.Conn) error {
				link, err := c.LinkIndex("v1")
				if err != nil {
					return err
				}
				route := rtnl.Route{Dst: cni.HostPrefix(addr), Table: rtnl.TableAnnounce, Type: unix.RTN_UNICAST,
					Proto: rtnl.ProtoAnnounce, Metric: rtnl.Metric, Link: link}
				for b.Loop() {
					start := time.Now()
					if err := c.AddRoute(route); err != nil {
						return err
					}
					announced = append(announced, events.await(b, unix.RTM_NEWROUTE).Sub(start))
					start = time.Now()
					if _, err := c.DeleteRoutes(route); err != nil {
						return err
					}
					withdrawn = append(withdrawn, events.await(b, unix.RTM_DELROUTE).Sub(start))
				}
				return nil
			})
			report(b, "announced", announced)
			report(b, "withdrawn", withdrawn)
			b.ReportMetric(0, "ns/op") // the sum of both says nothing
		})
	}
}

// event is one change of a route in the router's kernel.
type event struct {
	kind uint16 // unix.RTM_NEWROUTE or RTM_DELROUTE
	at   time.Time
}

type events chan event

// await returns the time of the next event, which is to be of the kind.
func (e events) await(b *testing.B, kind uint16) time.Time {
	got := <-e
	if got.kind != kind {
		b.Errorf("the router's kernel reports message %d, want %d", got.kind, kind)
	}
	return got.at
}

// events begins to watch the route to the address in the router's kernel.
func (n *network) events(b *testing.B, addr netip.Addr) events {
	b.Helper()
	ns, err := netns.GetFromName(n.router.Name)
	if err != nil {
		b.Fatal(err)
	}
	defer ns.Close()
	updates, done, found := make(chan netlink.RouteUpdate), make(chan struct{}), make(events)
	if err := netlink.RouteSubscribeAt(ns, updates, done); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { close(done) })
	dst := cni.IPNet(cni.HostPrefix(addr))
	go func() {
		for update := range updates {
			if update.Dst != nil && update.Dst.String() == dst.String() {
				found <- event{update.Type, time.Now()}
			}
		}
	}()
	return found
}

func report(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	for name, at := range map[string]int{"p50": len(took) / 2, "p99": len(took) * 99 / 100} {
		b.ReportMetric(float64(took[at].Microseconds())/1000, fmt.Sprintf("ms-%s-%s", what, name))
	}
}
