// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
)

// onItsWay is how long an address may have been given before it must be in the store. It is far above the time for which
// flock-ipam goes by an answer.
const onItsWay = 2 * time.Minute

// ledger knows of each attachment that has something with one allocator, or may have, whether it is in use. That tells
// what to take back: what was in the store and is there no more at once, and what never came there when it is certain
// that no ADD is still about to put it there.
type ledger struct {
	now func() time.Duration // since boot

	mu    sync.Mutex
	lives map[cni.Attachment]*life
}

// life is what is known of one attachment. Its time begins anew with each answer.
type life struct {
	// turn holds a token: who has taken it may call the allocator for the attachment.
	turn chan struct{}
	// answered is when the allocator last answered for it.
	answered time.Duration
	// asked counts the answers for each pool that may not be in the store yet: a second one is that of another ADD.
	asked map[string]int
	// seen: it was in the store. abandoned: the ADD that asked said that it has failed.
	seen, abandoned bool
	// addresses are those of the allocator's pools that it had in the store.
	addresses []netip.Addr
	// missing counts the looks at the store, since, that did not find it.
	missing int
	since   time.Duration
}

func newLedger(now func() time.Duration) *ledger {
	return &ledger{now: now, lives: map[cni.Attachment]*life{}}
}

// who leaves out the network, which allocators are not told.
func who(a cni.Attachment) cni.Attachment {
	a.Network = ""
	return a
}

// of returns the attachment's life, which begins with this if there is none.
func (l *ledger) of(a cni.Attachment) *life {
	if known := l.lives[who(a)]; known != nil {
		return known
	}
	fresh := &life{turn: make(chan struct{}, 1), asked: map[string]int{}}
	fresh.turn <- struct{}{}
	l.lives[who(a)] = fresh
	return fresh
}

// begin waits for the attachment's turn. What comes before its end is not taken back.
func (l *ledger) begin(ctx context.Context, a cni.Attachment) (*life, error) {
	for {
		l.mu.Lock()
		one := l.of(a)
		l.mu.Unlock()
		select {
		case <-one.turn:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		l.mu.Lock()
		current := l.lives[who(a)] == one
		l.mu.Unlock()
		if current {
			return one, nil
		}
		one.turn <- struct{}{} // it was taken back meanwhile, and the next life begins
	}
}

// end notes that the allocator was asked for an address of the pool, whatever it answered: it may have given one.
func (l *ledger) end(one *life, pool string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one.answered, one.seen, one.abandoned, one.missing = l.now(), false, false, 0
	one.asked[pool]++
	one.turn <- struct{}{}
}

// abandon notes that the ADD which asked for the attachment has failed.
func (l *ledger) abandon(a cni.Attachment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.lives[who(a)]; one != nil {
		one.abandoned = true
	}
}

// listed notes that the allocator says that the attachment has something.
func (l *ledger) listed(a cni.Attachment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(a)
}

// observe notes what attachments had in the store when it was read, not before the given time: their addresses of the
// allocator's pools, which may be none.
func (l *ledger) observe(store map[cni.Attachment][]netip.Addr, from time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, addresses := range store {
		if len(addresses) > 0 {
			l.of(a)
		}
	}
	for a, one := range l.lives {
		addresses, held := store[a]
		switch {
		case one.answered >= from && one.answered > 0: // of a time before the answer: it tells nothing
		case held:
			one.seen, one.missing, one.addresses = true, 0, addresses
			if from-one.answered >= onItsWay {
				clear(one.asked)
			}
		case one.missing == 0:
			one.missing, one.since = 1, from
		default:
			one.missing++
		}
	}
}

// due returns what is to be taken back, as far as the store was seen.
func (l *ledger) due() []cni.Attachment {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []cni.Attachment
	for a, one := range l.lives {
		if one.due(l.now()) {
			due = append(due, a)
		}
	}
	return due
}

func (one *life) due(now time.Duration) bool {
	if one.missing == 0 {
		return false
	}
	alone := true
	for _, n := range one.asked {
		alone = alone && n == 1
	}
	return alone && (one.seen || one.abandoned) || one.missing > 1 && now-max(one.since, one.answered) >= onItsWay
}

// release takes back what the attachment has, if it is still due and nobody is asking for it now. The function
// returns whether it was done.
func (l *ledger) release(a cni.Attachment, do func(addresses []netip.Addr) (bool, error)) error {
	l.mu.Lock()
	one := l.lives[who(a)]
	l.mu.Unlock()
	if one == nil {
		return nil
	}
	select {
	case <-one.turn:
	default:
		return nil // an ADD is on its way
	}
	defer func() { one.turn <- struct{}{} }()
	l.mu.Lock()
	due := one.due(l.now())
	l.mu.Unlock()
	if !due {
		return nil
	}
	done, err := do(one.addresses)
	if done && err == nil {
		l.mu.Lock()
		delete(l.lives, who(a))
		l.mu.Unlock()
	}
	return err
}

// empty tells whether nobody is known to have anything.
func (l *ledger) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lives) == 0
}
