// SPDX-License-Identifier: Apache-2.0

package allocatortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// reporter is what a rule needs of [testing.T].
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// rule is one thing that an allocator must do, and how it is found out.
type rule struct {
	name, says string
	play       func(*world)
}

// check plays the rule in a world of its own.
func (r rule) check(t reporter, o Options) {
	t.Helper()
	w := &world{reporter: t, Options: o.complete(), rule: r, id: counter.Add(1), kill: func() {}}
	defer func() { w.kill() }()
	w.start()
	r.play(w)
	w.clean()
}

// world is what one rule plays with: a running allocator, and pools and attachments that nobody else has.
type world struct {
	reporter
	Options
	rule rule
	id   uint32
	a    allocator.Allocator
	kill func()

	pools []allocator.Pool
	given []allocator.Attachment
}

// counter numbers the worlds, so that what an allocator remembers of another test does not matter.
var counter = newCounter()

func newCounter() *atomic.Uint32 {
	c := new(atomic.Uint32)
	c.Store(rand.Uint32N(1 << 20))
	return c
}

// broken ends the rule with what was found.
func (w *world) broken(format string, args ...any) {
	w.Helper()
	w.Fatalf("%s\n\trule: %s", fmt.Sprintf(format, args...), w.rule.says)
}

// start starts the allocator, again perhaps.
func (w *world) start() {
	w.Helper()
	a, kill, err := w.Start()
	if err != nil {
		w.broken("%v", err)
	}
	w.a, w.kill = a, kill
}

// restart ends the allocator as a crash does, and starts it again.
func (w *world) restart() {
	w.Helper()
	w.kill()
	w.start()
}

// clean takes back all that was given.
func (w *world) clean() {
	w.Helper()
	for _, a := range w.given {
		w.release(a)
	}
}

// pool returns a new pool of so many bits, without the addresses from one offset to another of each pair.
func (w *world) pool(v4 bool, bits int, aside ...[2]byte) allocator.Pool {
	n := w.id<<4 + uint32(len(w.pools))
	base := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0xa1, 0x10, 8: byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	first := netip.AddrFrom16(base)
	if v4 {
		first = netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0})
	}
	p := allocator.Pool{Name: fmt.Sprintf("allocatortest-%d-%d", w.id, len(w.pools)), Prefix: netip.PrefixFrom(first, bits)}
	for _, offsets := range aside {
		p.Aside = append(p.Aside, allocator.Range{First: plus(first, offsets[0]), Last: plus(first, offsets[1])})
	}
	w.pools = append(w.pools, p)
	return p
}

// plus returns the address so many behind a pool's first, whose last byte is 0.
func plus(first netip.Addr, n byte) netip.Addr {
	raw := first.AsSlice()
	raw[len(raw)-1] = n
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

// room lists the addresses of a small pool that pods may get.
func room(p allocator.Pool) []netip.Addr {
	var all []netip.Addr
	for addr := p.Prefix.Addr(); p.Prefix.Contains(addr); addr = addr.Next() {
		if !p.SetAside(addr) {
			all = append(all, addr)
		}
	}
	return all
}

// attachment returns one on the first node or the second, of a number of the rule's own.
func (w *world) attachment(node, number int) allocator.Attachment {
	a := allocator.Attachment{Node: w.Nodes[node], ContainerID: fmt.Sprintf("allocatortest-%d-%d", w.id, number), IfName: "eth0"}
	if !slices.Contains(w.given, a) {
		w.given = append(w.given, a)
	}
	return a
}

// asking returns the request for an address of the whole pool, for the pod of the number on the first node.
func (w *world) asking(number int, p allocator.Pool) allocator.Request {
	return allocator.Request{Attachment: w.attachment(0, number), Pod: w.Pod(number), Pool: p, Within: p.Prefix}
}

// try asks within the time that a call has.
func (w *world) try(r allocator.Request) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.Timeout)
	defer cancel()
	return w.a.Allocate(ctx, r)
}

// get returns the address for a request that must be granted, and looks whether it may be given.
func (w *world) get(r allocator.Request) netip.Addr {
	w.Helper()
	addr, err := w.try(r)
	if err != nil {
		w.broken("Allocate for %s from %s: %v", title(r.Attachment), r.Within, err)
	}
	w.mayGive(r, addr)
	return addr
}

func (w *world) mayGive(r allocator.Request, addr netip.Addr) {
	w.Helper()
	switch {
	case !r.Within.Contains(addr):
		w.broken("Allocate from %s of pool %s gives %s, which is outside", r.Within, r.Pool.Prefix, addr)
	case r.Pool.SetAside(addr):
		w.broken("Allocate from pool %s gives %s, which is set aside: %v", r.Pool.Prefix, addr, r.Pool.Aside)
	}
}

func (w *world) release(a allocator.Attachment) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.Timeout)
	defer cancel()
	if err := w.a.Release(ctx, a); err != nil {
		w.broken("Release of %s: %v", title(a), err)
	}
}

// listed returns what the node has in the rule's own pools, a line for each address, in order.
func (w *world) listed(node int) []string {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.Timeout)
	defer cancel()
	all, err := w.a.List(ctx, w.Nodes[node])
	if err != nil {
		w.broken("List of %s: %v", w.Nodes[node], err)
	}
	var lines []string
	for _, a := range all {
		own := func(p allocator.Pool) bool { return p.Name == a.Pool || p.Prefix.Contains(a.Address) }
		if !slices.ContainsFunc(w.pools, own) {
			continue
		}
		if time.Until(a.Since) > time.Minute {
			w.broken("List says that %s was given at %s, which is yet to come", a.Address, a.Since)
		}
		lines = append(lines, line(a.Attachment, a.Pool, a.Address))
	}
	slices.Sort(lines)
	return lines
}

// lists wants List to say these lines of the node, and no others.
func (w *world) lists(node int, when string, want ...string) {
	w.Helper()
	slices.Sort(want)
	if got := w.listed(node); !slices.Equal(got, want) {
		w.broken("%s, List of %s has\n\t\t%s\n\twant\n\t\t%s", when, w.Nodes[node],
			strings.Join(got, "\n\t\t"), strings.Join(want, "\n\t\t"))
	}
}

func line(a allocator.Attachment, pool string, addr netip.Addr) string {
	return fmt.Sprintf("%s of pool %s: %s", addr, pool, title(a))
}

func title(a allocator.Attachment) string {
	return fmt.Sprintf("%s/%s on %s", a.ContainerID, a.IfName, a.Node)
}
