// SPDX-License-Identifier: Apache-2.0

package allocatortest

import (
	"context"
	"errors"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// shortly bounds a call that may well not succeed.
const shortly = time.Second

func two(w *world) {
	v4, v6 := w.pool(true, 32), w.pool(false, 128)
	four, six := w.asking(0, v4), w.asking(0, v6)
	a, b := w.get(four), w.get(six)
	w.lists(0, "with an address in two pools", line(four.Attachment, v4.Name, a), line(six.Attachment, v6.Name, b))
	w.release(four.Attachment)
	w.lists(0, "after Release")
}

func frees(w *world) {
	pool := w.pool(true, 32)
	r := w.asking(0, pool)
	w.get(r)
	if _, err := w.try(w.asking(1, pool)); !errors.Is(err, allocator.ErrExhausted) {
		w.broken("Allocate from a pool of one address, which is given, says: %v", err)
	}
	w.release(r.Attachment)
	w.lists(0, "after Release")
	// The same pod, started anew: an allocator may well keep the address for it.
	r.Attachment = w.attachment(1, 2)
	w.lists(1, "before it is given again")
	addr := w.get(r)
	w.lists(1, "when it is given again", line(r.Attachment, pool.Name, addr))
}

func nothing(w *world) {
	r := w.asking(0, w.pool(false, 64))
	w.release(w.attachment(0, 1))
	w.get(r)
	w.release(r.Attachment)
	w.release(r.Attachment)
}

func onlyOwn(w *world) {
	pool := w.pool(false, 64)
	own, sibling, namesake := w.asking(0, pool), w.asking(1, pool), w.asking(2, pool)
	sibling.Attachment.ContainerID, sibling.Attachment.IfName = own.Attachment.ContainerID, "eth1"
	namesake.Attachment.ContainerID, namesake.Attachment.Node = own.Attachment.ContainerID, w.Nodes[1]
	w.given = append(w.given, sibling.Attachment, namesake.Attachment)
	w.get(own)
	two, three := w.get(sibling), w.get(namesake)
	w.release(own.Attachment)
	w.lists(0, "after Release of the container's eth0", line(sibling.Attachment, pool.Name, two))
	w.lists(1, "after Release on the other node", line(namesake.Attachment, pool.Name, three))
}

func truly(w *world) {
	pool := w.pool(false, 64)
	w.lists(0, "at first")
	here, there := w.asking(0, pool), w.asking(1, pool)
	there.Attachment = w.attachment(1, 1)
	a, b := w.get(here), w.get(there)
	w.lists(0, "with one attachment on each node", line(here.Attachment, pool.Name, a))
	w.lists(1, "with one attachment on each node", line(there.Attachment, pool.Name, b))
	w.release(here.Attachment)
	w.lists(0, "after Release on this node")
	w.lists(1, "after Release on the other node", line(there.Attachment, pool.Name, b))
}

// cancelled gives calls up before they begin and while they run, and then wants every address of the pool.
func cancelled(w *world) {
	pool := w.pool(true, 30)
	for i := range 20 {
		r := w.asking(i%4, pool)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i/4)*200*time.Microsecond)
		begun := time.Now()
		w.a.Allocate(ctx, r)
		cancel()
		if took := time.Since(begun); took > shortly {
			w.broken("Allocate returns %s after its context has ended", took)
		}
		if i%8 >= 4 {
			w.release(r.Attachment)
		}
	}
	first := w.get(w.asking(0, pool))
	if second := w.get(w.asking(0, pool)); second != first {
		w.broken("Allocate gives %s, and asked again %s", first, second)
	}
	for i := range 4 {
		w.release(w.attachment(0, i))
	}
	w.lists(0, "after Release of all that were given up")
	w.gives(pool, w.fill(pool, 0))
}

func remembers(w *world) {
	pool := w.pool(true, 29)
	here, there := w.asking(0, pool), w.asking(1, pool)
	there.Attachment = w.attachment(1, 1)
	a, b := w.get(here), w.get(there)
	w.restart()
	w.lists(0, "after a restart", line(here.Attachment, pool.Name, a))
	w.lists(1, "after a restart", line(there.Attachment, pool.Name, b))
	if now := w.get(here); now != a {
		w.broken("Allocate gave %s, and after a restart gives %s", a, now)
	}
	for _, addr := range w.fill(pool, 2) {
		if addr == a || addr == b {
			w.broken("Allocate after a restart gives %s, which was given before", addr)
		}
	}
}

func released(w *world) {
	r := w.asking(0, w.pool(true, 32))
	w.get(r)
	w.release(r.Attachment)
	w.restart()
	w.lists(0, "after Release and a restart")
	r.Attachment = w.attachment(0, 1)
	w.get(r)
}
