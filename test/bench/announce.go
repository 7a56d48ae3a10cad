// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

// measureAnnouncing gives pods fixed addresses that no pool covers, on a node with BIRD and a router with
// BIRD, and compares when the kernel of each saw the route come and go.
func (b *bench) measureAnnouncing(ctx context.Context) (err error) {
	l, err := lab.New(lab.Options{Name: b.name + "-lab", Nodes: 1, Bin: b.flock})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	node := l.Nodes[0]
	if err := errors.Join(node.Install(ctx), l.StartRouting(ctx)); err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	sent, err := watch(node.Netns, rtnl.TableAnnounce, done)
	if err != nil {
		return err
	}
	arrived, err := watch(l.Router.Netns, unix.RT_TABLE_MAIN, done)
	if err != nil {
		return err
	}
	for i := range b.Announced {
		if err := b.announceOnce(ctx, node, i, sent, arrived); err != nil {
			return err
		}
	}
	return nil
}

// fixedAddress returns the i-th fixed address, IPv6 and IPv4 by turns.
func fixedAddress(i int) netip.Addr {
	if i%2 == 0 {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 14: byte(i >> 8), 15: byte(i)})
	}
	return netip.AddrFrom4([4]byte{10, 245, byte(i >> 8), byte(i)})
}

func (b *bench) announceOnce(ctx context.Context, node *lab.Node, i int, sent, arrived <-chan sighting) error {
	addr := fixedAddress(i)
	pod, err := node.NewPod(fmt.Sprintf("fixed%d", i), map[string]string{"flock.fritzlab.net/addresses": addr.String()})
	if err != nil {
		return err
	}
	for _, step := range []struct {
		verb    string
		message uint16
		do      func(context.Context, *lab.Pod) error
	}{
		{"announce", unix.RTM_NEWROUTE, node.Runtime.Add},
		{"withdraw", unix.RTM_DELROUTE, node.Runtime.Del},
	} {
		if err := step.do(ctx, pod); err != nil {
			return err
		}
		from, err := await(ctx, sent, addr, step.message)
		if err != nil {
			return fmt.Errorf("%s %s: on the node: %w", step.verb, addr, err)
		}
		to, err := await(ctx, arrived, addr, step.message)
		if err != nil {
			return fmt.Errorf("%s %s: at the router: %w", step.verb, addr, err)
		}
		// On a busy machine the watcher of the node can wake after that of the router.
		took := max(to.Sub(from), time.Microsecond)
		b.report.note(key{Subject: "fixed address", Parallel: 1, Verb: step.verb}, took)
	}
	return nil
}

// sighting is a change of a route as a kernel told it.
type sighting struct {
	at      time.Time
	message uint16
	dst     netip.Addr
}

// watch reports the changes of single addresses' routes in a table of a namespace until done is closed.
func watch(n *lab.Netns, table int, done <-chan struct{}) (<-chan sighting, error) {
	ns, err := netns.GetFromName(n.Name)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	updates := make(chan netlink.RouteUpdate, 64)
	if err := netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{Namespace: &ns}); err != nil {
		return nil, fmt.Errorf("watch the routes of %s: %w", n.Name, err)
	}
	seen := make(chan sighting, 64)
	go func() {
		for u := range updates {
			at := time.Now()
			if u.Table != table || u.Dst == nil {
				continue
			}
			if addr, ok := netip.AddrFromSlice(u.Dst.IP); ok {
				seen <- sighting{at, u.Type, addr.Unmap()}
			}
		}
	}()
	return seen, nil
}

// await returns when the message about the address was seen; others are passed over.
func await(ctx context.Context, seen <-chan sighting, addr netip.Addr, message uint16) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		select {
		case s := <-seen:
			if s.dst == addr && s.message == message {
				return s.at, nil
			}
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("no change of its route seen: %w", ctx.Err())
		}
	}
}
