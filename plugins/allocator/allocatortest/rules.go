// SPDX-License-Identifier: Apache-2.0

package allocatortest

import (
	"errors"
	"net/netip"
	"slices"
	"sync"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// rulesFor returns the rules that apply to the allocator.
func rulesFor(o Options) []rule {
	rules := []rule{
		{"allocate-inside", "an address lies in the part of the pool that is asked for, in IPv4 and in IPv6", inside},
		{"allocate-aside", "what is set aside in the pool is never given, and all else is", aside},
		{"allocate-again", "an attachment that asks again gets what it has", again},
		{"allocate-unique", "no two attachments have one address, 16 of them asking at once", unique},
		{"allocate-same-pod", "a pod's second attachment never gets what its first one still has", samePod},
		{"allocate-exhausted", "a pool without a free address is ErrExhausted, and not ErrRefused", exhausted},
		{"pools-small", "a pool of one or two addresses (/32, /31, /128, /127) gives them all", small},
		{"pools-two", "an attachment may have an address in each of several pools, and Release takes all of them", two},
		{"release-frees", "what was released can be given again", frees},
		{"release-nothing", "Release of an attachment that has nothing is no error", nothing},
		{"release-only-own", "Release takes from no other attachment: of the container, of its name on another node", onlyOwn},
		{"list-true", "List has what the node's attachments have, and nothing else", truly},
		{"cancel-loses-nothing", "after a call that was given up, asking again and Release work, and no address is lost", cancelled},
		{"restart-remembers", "an allocator that crashed and was started again knows what it has given", remembers},
		{"restart-released", "an allocator that crashed and was started again knows what it has taken back", released},
	}
	if o.Refused != nil {
		rules = append(rules, rule{"allocate-refused", "a pod that the allocator does not serve is ErrRefused, and not ErrExhausted", refused})
	}
	return rules
}

func inside(w *world) {
	for _, pool := range []allocator.Pool{w.pool(true, 24), w.pool(false, 64)} {
		r := w.asking(0, pool)
		first := plus(pool.Prefix.Addr(), 0x40)
		r.Within = netip.PrefixFrom(first, first.BitLen()-4)
		w.get(r)
		w.get(w.asking(1, pool))
	}
}

// fill asks until the pool is exhausted and returns what was given, by attachment.
func (w *world) fill(pool allocator.Pool, from int) map[allocator.Attachment]netip.Addr {
	w.Helper()
	given := map[allocator.Attachment]netip.Addr{}
	owner := map[netip.Addr]allocator.Attachment{}
	for i := from; len(given) <= len(room(pool)); i++ {
		r := w.asking(i, pool)
		addr, err := w.try(r)
		if errors.Is(err, allocator.ErrExhausted) {
			return given
		}
		if err != nil {
			w.broken("Allocate from pool %s, with %d of its addresses given: %v, which is not ErrExhausted", pool.Prefix, len(given), err)
		}
		w.mayGive(r, addr)
		if other, twice := owner[addr]; twice {
			w.broken("Allocate gives %s to %s, and %s has it", addr, title(r.Attachment), title(other))
		}
		given[r.Attachment], owner[addr] = addr, r.Attachment
	}
	w.broken("pool %s gives more addresses than it has", pool.Prefix)
	return nil
}

// gives wants that all of the pool's addresses were given.
func (w *world) gives(pool allocator.Pool, given map[allocator.Attachment]netip.Addr) {
	w.Helper()
	all := room(pool)
	for _, addr := range given {
		all = slices.DeleteFunc(all, func(a netip.Addr) bool { return a == addr })
	}
	if len(all) > 0 {
		w.broken("pool %s is said to be exhausted, and %v is free", pool.Prefix, all)
	}
}

func aside(w *world) {
	for _, pool := range []allocator.Pool{
		w.pool(true, 28, [2]byte{0, 1}, [2]byte{6, 9}, [2]byte{15, 15}), w.pool(false, 124, [2]byte{0, 1}, [2]byte{4, 12}),
	} {
		w.gives(pool, w.fill(pool, 0))
	}
}

func small(w *world) {
	for _, pool := range []allocator.Pool{w.pool(true, 31), w.pool(true, 32), w.pool(false, 127), w.pool(false, 128)} {
		w.gives(pool, w.fill(pool, 0))
	}
}

func exhausted(w *world) {
	pool := w.pool(true, 30, [2]byte{0, 0}, [2]byte{3, 3})
	w.fill(pool, 0)
	_, err := w.try(w.asking(50, pool))
	if !errors.Is(err, allocator.ErrExhausted) || errors.Is(err, allocator.ErrRefused) {
		w.broken("Allocate from a full pool says: %v", err)
	}
}

func again(w *world) {
	r := w.asking(0, w.pool(false, 64))
	first := w.get(r)
	if second := w.get(r); second != first {
		w.broken("Allocate gives %s, and asked again %s", first, second)
	}
	r = w.asking(1, w.pools[0])
	given := w.together(slices.Repeat([]allocator.Request{r}, 8))
	if len(slices.Compact(given)) != 1 {
		w.broken("Allocate, asked eight times at once for one attachment, gives %v", given)
	}
}

// together makes the requests, 16 at once, and returns the addresses in their order.
func (w *world) together(requests []allocator.Request) []netip.Addr {
	w.Helper()
	addrs, errs := make([]netip.Addr, len(requests)), make([]error, len(requests))
	next := make(chan int)
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for i := range next {
				addrs[i], errs[i] = w.try(requests[i])
			}
		})
	}
	for i := range requests {
		next <- i
	}
	close(next)
	callers.Wait()
	for i, err := range errs {
		if err != nil {
			w.broken("Allocate for %s: %v", title(requests[i].Attachment), err)
		}
		w.mayGive(requests[i], addrs[i])
	}
	return addrs
}

func unique(w *world) {
	for _, pool := range []allocator.Pool{w.pool(true, 26), w.pool(false, 122)} {
		var requests []allocator.Request
		for i := range 48 {
			r := w.asking(i, pool)
			if r.Attachment = w.attachment(i%2, i); i%2 == 1 {
				// The other node has a container of the same name.
				r.Attachment = w.attachment(1, i-1)
			}
			requests = append(requests, r)
		}
		owner := map[netip.Addr]allocator.Attachment{}
		for i, addr := range w.together(requests) {
			if other, twice := owner[addr]; twice {
				w.broken("%s and %s both have %s", title(other), title(requests[i].Attachment), addr)
			}
			owner[addr] = requests[i].Attachment
		}
	}
}

func samePod(w *world) {
	first := w.asking(0, w.pool(false, 64))
	second := first
	second.Attachment = w.attachment(1, 1)
	has := w.get(first)
	w.Timeout = min(w.Timeout, shortly) // an allocator may wait for the first to be released
	if got, err := w.try(second); err == nil && got == has {
		w.broken("%s and %s both have %s", title(first.Attachment), title(second.Attachment), got)
	}
}

func refused(w *world) {
	r := w.asking(0, w.pool(false, 64))
	r.Pod = w.Refused()
	addr, err := w.try(r)
	if !errors.Is(err, allocator.ErrRefused) || errors.Is(err, allocator.ErrExhausted) {
		w.broken("Allocate for pod %s gives %s, %v", r.Pod.Name, addr, err)
	}
	w.lists(0, "after a refusal")
}
