// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/reconcile"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/cni"
)

// patience bounds a call that nobody waits for.
const patience = 5 * time.Second

// poll is how soon it is looked again at a namespace that is to go.
const poll = 250 * time.Millisecond

// routeStage is the stage whose claims are the host's routes.
const routeStage = "flock-route"

// keeper runs one extension, and takes back with it what is not needed any more.
type keeper struct {
	*Allocators
	name      string
	extension Extension
	ledger    *ledger
	trigger   task.Trigger
	later     *time.Timer // fires the trigger
	cancel    context.CancelFunc
	ended     chan struct{}

	compared atomic.Pointer[time.Time] // when all that it has was last compared
	nothing  atomic.Bool               // it had nothing then
	unlike   error                     // what was wrong then
}

func newKeeper(a *Allocators, name string) *keeper {
	k := &keeper{Allocators: a, name: name, ledger: newLedger(a.SinceBoot), trigger: task.NewTrigger(), ended: make(chan struct{})}
	k.ledger.recall(a.roster.of(name))
	k.later = time.AfterFunc(time.Hour, k.trigger.Fire)
	return k
}

func (k *keeper) area() string { return allocator.Kind + " " + k.name }

func (k *keeper) run(ctx context.Context) {
	defer close(k.ended)
	defer k.later.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { k.extension.Run(ctx) })
	task.Loop(ctx, k.trigger, rest, k.Interval, func(ctx context.Context) { k.Report(k.area(), k.round(ctx)) })
}

// client returns the extension's. It may be called without a keeper.
func (k *keeper) client() (allocator.Allocator, error) {
	if k == nil {
		return nil, fmt.Errorf("ipamd has not started it: %w", extension.ErrDown)
	}
	client, err := k.extension.Client()
	if err != nil {
		return nil, err
	}
	return client.(allocator.Allocator), nil
}

// down returns what is wrong with the extension: nothing before it was tried.
func (k *keeper) down() error {
	if s := k.extension.State(); s.Up || s.LastError == "" {
		return nil
	}
	_, err := k.client()
	return err
}

// done tells whether the extension is known to have nothing that is to be taken back, and nobody asks it.
func (k *keeper) done() bool { return k != nil && k.nothing.Load() && k.ledger.empty() }

// round takes back what is due: what was in the store and is gone, and, once every interval, whatever else the
// extension says that it has given.
func (k *keeper) round(ctx context.Context) error {
	pools, err := k.Pools()
	if err != nil {
		return err
	}
	has, err := k.observe(pools)
	if err != nil {
		return err
	}
	client, err := k.client()
	if err != nil {
		return k.down()
	}
	now := time.Now()
	err = k.releaseDue(ctx, client)
	if !k.comparedSince(now.Add(-k.Interval)) {
		k.unlike = k.compare(ctx, client, has)
		k.compared.Store(&now)
	}
	return errors.Join(err, k.unlike)
}

func (k *keeper) releaseDue(ctx context.Context, client allocator.Allocator) error {
	for _, a := range k.ledger.due() {
		if err := k.release(ctx, client, a); err != nil {
			return err // the others wait, for it will be the same with them
		}
	}
	return nil
}

func (k *keeper) comparedSince(then time.Time) bool {
	at := k.compared.Load()
	return at != nil && at.After(then)
}

// observe reads from the store who has which of the allocator's addresses.
func (k *keeper) observe(pools []pool.Pool) (map[cni.Attachment]record, error) {
	questionable := k.ledger.questionable()
	v := view{from: k.SinceBoot(), has: map[cni.Attachment]record{}, released: map[netip.Addr]time.Duration{}}
	err := k.Store.View(func(tx *store.Tx) error {
		if tx.Missing() && len(k.ledger.inStore()) > 0 {
			return errors.New("the store is missing, and nobody knows what became of its attachments before the next ADD begins it again")
		}
		for _, addr := range questionable {
			h, known, err := tx.Holder(addr)
			if err != nil {
				return err
			}
			if known && h.Free() {
				v.released[addr] = h.Released
			}
		}
		err := tx.All(func(alloc store.Allocation) error {
			r := v.has[who(alloc.Attachment)]
			r.addresses = append(r.addresses, k.ofPools(alloc.Addresses, pools)...)
			r.since = alloc.Allocated
			r.chained = alloc.State == store.Pending
			if !r.chained {
				r.netns = alloc.Netns
			}
			v.has[who(alloc.Attachment)] = r
			return nil
		})
		return errors.Join(err, store.Notes(tx, routeStage, func(a cni.Attachment, _ any) error {
			if r, has := v.has[who(a)]; has {
				r.chained = true
				v.has[who(a)] = r
			}
			return nil
		}))
	})
	if err != nil {
		return nil, fmt.Errorf("read what is in use: %w", err)
	}
	k.ledger.observe(v)
	return v.has, k.note()
}

// ofPools returns those of the addresses that the allocator picks.
func (k *keeper) ofPools(addrs []netip.Addr, pools []pool.Pool) (own []netip.Addr) {
	for _, addr := range addrs {
		if home, ok := pool.Find(pools, addr); ok && home.Allocator == k.name && !home.SetAside(addr) {
			own = append(own, addr)
		}
	}
	return own
}

// note writes down which attachments were in the store: another ipamd takes back what of them is gone from there.
func (k *keeper) note() error { return k.roster.set(k.name, k.ledger.inStore) }

// compare has the extension list what it has given on the node: what the store has not is to be taken back when
// that is certain, and what only the store has may be given to somebody else.
func (k *keeper) compare(ctx context.Context, client allocator.Allocator, has map[cni.Attachment]record) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	all, err := client.List(ctx, k.Node)
	if err != nil {
		return fmt.Errorf("list what allocator %s has given: %w", k.name, err)
	}
	listed, nothing := map[netip.Addr]bool{}, true
	for _, given := range all {
		if given.Attachment.Node == k.Node {
			k.ledger.listed(own(given.Attachment), given.Address)
			listed[given.Address], nothing = true, false
		}
	}
	k.nothing.Store(nothing)
	if nothing {
		k.Allocators.trigger.Fire() // it may not be needed any more
	}
	var unknown []string
	for a, r := range has {
		for _, addr := range r.addresses {
			if !listed[addr] {
				unknown = append(unknown, fmt.Sprintf("%s (container %.12s)", addr, a.ContainerID))
			}
		}
	}
	if unknown == nil {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("allocator %s does not know of %s: it may give them again; reserve them in the pool, or replace the pods",
		k.name, strings.Join(unknown, ", "))
}

// release takes back what the attachment has, unless the store has it again, or the kernel routes to it still.
func (k *keeper) release(ctx context.Context, client allocator.Allocator, a cni.Attachment) error {
	return k.ledger.release(a, func(l left) (bool, error) {
		if k.lingers(l) {
			return false, nil
		}
		used, err := k.used(a, l.addresses)
		if used || err != nil {
			return false, err
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := client.Release(ctx, k.attachment(a)); err != nil {
			return false, fmt.Errorf("release what container %.12s had: %w", a.ContainerID, err)
		}
		k.Log.Info("released with its allocator", "allocator", k.name, "container", a.ContainerID, "ifName", a.IfName, "addresses", l.addresses)
		return true, nil
	})
}

// used tells whether the attachment is in the store, or the kernel routes to an address that the store does not say
// another one has.
func (k *keeper) used(a cni.Attachment, addresses []netip.Addr) (used bool, err error) {
	others := map[netip.Addr]bool{}
	err = k.Store.View(func(tx *store.Tx) error {
		return tx.All(func(alloc store.Allocation) error {
			used = used || who(alloc.Attachment) == a
			for _, addr := range alloc.Addresses {
				others[addr] = true
			}
			return nil
		})
	})
	for _, addr := range addresses {
		if others[addr] {
			continue
		}
		routed, lookErr := k.Routed(addr)
		used, err = used || routed, errors.Join(err, lookErr)
	}
	return used, err
}

// lingers tells whether an attachment that nothing is known to route to may have its link still: a delegated main
// plugin removes it after the DEL of flock-ipam. Without a DEL the pod runs for as long as its namespace is there.
func (k *keeper) lingers(l left) bool {
	if l.netns == "" || !l.lost && k.SinceBoot()-l.since >= k.CoolDown() {
		return false
	}
	alive, err := reconcile.NetnsAlive(store.Allocation{Netns: l.netns})
	if alive && !l.lost {
		k.later.Reset(poll)
	}
	return alive || err != nil
}

// own returns the attachment as the node calls it.
func own(a allocator.Attachment) cni.Attachment {
	return cni.Attachment{ContainerID: a.ContainerID, IfName: a.IfName}
}
