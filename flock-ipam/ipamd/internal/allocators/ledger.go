// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"context"
	"net/netip"
	"slices"
	"strings"
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
	// asked is when an ADD last asked. onWay counts for each pool the ADDs that have asked, and of which nobody knows that
	// they have failed or come to the store.
	asked time.Duration
	onWay map[string]int
	// held: the last look found it in the store, of an ADD that began at stored.
	held   bool
	stored time.Time
	// given are the addresses that it was told since.
	given []netip.Addr
	// seen: it was in the store. abandoned: the ADD that asked said that it has failed.
	seen, abandoned bool
	// addresses are all that it is known to have had of the allocator: by the store, by what it was told, or by the allocator.
	addresses []netip.Addr
	// chained: flock-route has had the kernel route to it, or was to.
	chained bool
	// netns is the namespace's path where no route of the host's tells whether it uses its addresses still.
	netns string
	// missing: the last looks at the store did not find it, the first of them at since.
	missing bool
	since   time.Duration
	// lost: when it was missing first, the store did not say of any of its addresses that they were released.
	lost bool
}

// had notes an address.
func (one *life) had(addresses ...netip.Addr) {
	for _, addr := range addresses {
		if !slices.Contains(one.addresses, addr) {
			one.addresses = append(one.addresses, addr)
		}
	}
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
	fresh := &life{turn: make(chan struct{}, 1), onWay: map[string]int{}}
	fresh.turn <- struct{}{}
	l.lives[who(a)] = fresh
	return fresh
}

// question notes that an ADD asks for an address of the pool, whatever it is told.
func (l *ledger) question(a cni.Attachment, pool string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.of(a)
	one.asked = l.now()
	one.onWay[pool]++
}

// settle notes that one of the ADDs has come to its end.
func (one *life) settle() {
	for pool, n := range one.onWay {
		if one.onWay[pool] = n - 1; n == 1 {
			delete(one.onWay, pool)
		}
	}
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

// end notes which address the allocator gave: if none, which is the zero one, it may have given one all the same. It
// returns whether the life before was in the store.
func (l *ledger) end(one *life, told netip.Addr) (again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	again = one.seen
	one.answered, one.seen, one.abandoned, one.missing = l.now(), false, false, false
	if told.IsValid() {
		one.given = append(one.given, told)
		one.had(told)
	}
	one.turn <- struct{}{}
	return again
}

// abandon notes that the ADD which asked for the attachment has failed.
func (l *ledger) abandon(a cni.Attachment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.lives[who(a)]; one != nil {
		one.abandoned = true
		one.settle()
	}
}

// listed notes that the allocator says that the attachment has the address.
func (l *ledger) listed(a cni.Attachment, addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(a).had(addr)
}

// view is what the store held at one moment.
type view struct {
	// from is a time since boot before that.
	from time.Duration
	// has is what each attachment had.
	has map[cni.Attachment]record
	// released is when those of [ledger.questionable] that nobody had were released, if ever.
	released map[netip.Addr]time.Duration
}

// record is what a view tells of an attachment.
type record struct {
	// addresses are those of the allocator's pools, which may be none.
	addresses []netip.Addr
	// since is when its ADD began: another ADD has another time.
	since time.Time
	// netns is its namespace's path, once it was committed.
	netns string
	// chained: flock-route has a claim for it, or it is not finished, which a delegated attachment always is.
	chained bool
}

// questionable returns the addresses of which it matters whether they were released: those that ADDs were told and that
// were not in the store yet, and those that no route of the host's tells of.
func (l *ledger) questionable() (all []netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.lives {
		all = append(all, one.given...)
		if one.netns != "" {
			all = append(all, one.addresses...)
		}
	}
	return all
}

// observe notes what is in the store.
func (l *ledger) observe(v view) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, r := range v.has {
		if len(r.addresses) > 0 {
			l.of(a)
		}
	}
	for a, one := range l.lives {
		if one.answered >= v.from && one.answered > 0 {
			continue // it is of a time before the answer, and tells nothing
		}
		if r, held := v.has[a]; held {
			one.hold(r, v.from)
		} else {
			one.miss(v)
		}
	}
}

// hold notes that the store has the attachment.
func (one *life) hold(r record, from time.Duration) {
	one.had(r.addresses...)
	if !one.held || !one.stored.Equal(r.since) {
		one.held, one.stored = true, r.since
		one.settle()
	}
	if one.chained = one.chained || r.chained; one.chained {
		one.netns = ""
	} else {
		one.netns = r.netns
	}
	one.seen, one.missing, one.given = true, false, nil
	if from-one.last() >= onItsWay {
		clear(one.onWay)
	}
}

// miss notes that the store has it not, and that it had it for a moment, where what it was told was released since.
func (one *life) miss(v view) {
	released := func(addr netip.Addr) bool {
		at, ever := v.released[addr]
		return ever && at >= one.answered
	}
	if !one.missing {
		one.missing, one.since = true, v.from
		one.lost = len(one.addresses) > 0 && !slices.ContainsFunc(one.addresses, released)
	}
	one.held = false
	if !one.seen && slices.ContainsFunc(one.given, released) {
		one.seen = true
		one.settle()
	}
}

// last is when an ADD last asked or was answered.
func (one *life) last() time.Duration { return max(one.asked, one.answered) }

// recall notes attachments that were in the store when an earlier ipamd looked.
func (l *ledger) recall(seen []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range seen {
		one := l.of(e.Attachment)
		one.seen = true
		one.had(e.Addresses...)
		one.netns = e.Netns
	}
}

// inStore returns the attachments that were in the store and have not been taken back, in order.
func (l *ledger) inStore() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := []entry{}
	for a, one := range l.lives {
		if one.seen {
			seen = append(seen, entry{Attachment: a, Addresses: slices.Clone(one.addresses), Netns: one.netns})
		}
	}
	slices.SortFunc(seen, func(a, b entry) int { return strings.Compare(a.String(), b.String()) })
	return seen
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
	if !one.missing {
		return false
	}
	return len(one.onWay) == 0 && (one.seen || one.abandoned) || now-max(one.since, one.last()) >= onItsWay
}

// left is by what the kernel may show that an attachment is there still, which has been missing since then.
type left struct {
	addresses []netip.Addr
	netns     string
	since     time.Duration
	// lost: it is missing without a DEL, as where the store was lost.
	lost bool
}

// release takes back what the attachment has, if it is still due and nobody is asking for it now. The function
// returns whether it was done.
func (l *ledger) release(a cni.Attachment, do func(left) (bool, error)) error {
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
	due, rest := one.due(l.now()), left{slices.Clone(one.addresses), one.netns, one.since, one.lost}
	l.mu.Unlock()
	if !due {
		return nil
	}
	done, err := do(rest)
	if done && err == nil {
		l.forget(a)
	}
	return err
}

// forget ends the attachment's life. The next begins with the ADDs that have asked meanwhile.
func (l *ledger) forget(a cni.Attachment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.lives[who(a)]
	delete(l.lives, who(a))
	if len(one.onWay) > 0 && l.now()-one.asked < onItsWay {
		l.lives[who(a)] = &life{turn: one.turn, asked: one.asked, onWay: one.onWay}
	}
}

// empty tells whether nobody is known to have anything.
func (l *ledger) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lives) == 0
}
