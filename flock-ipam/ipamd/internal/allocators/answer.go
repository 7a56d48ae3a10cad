// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/cni"
)

// again is how long after an extension was lost in the midst of a call it is asked again.
const again = 50 * time.Millisecond

// Allocate has the pool's allocator give an address, and looks whether a pod may have it. It waits for an extension
// that is not up, and for a pod that the API server has not told of, until the context ends.
func (a *Allocators) Allocate(ctx context.Context, w lookup.Want) (netip.Addr, error) {
	if err := a.keeps(w.StateDir); err != nil {
		return netip.Addr{}, err
	}
	from, err := a.pool(w)
	if err != nil {
		return netip.Addr{}, err
	}
	k := a.get(from.Allocator)
	k.arrived(w)
	pod, err := a.Describe(ctx, w.Pod)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := a.call(ctx, k, from, allocator.Request{
		Attachment: a.attachment(w.Attachment), Pod: pod, Pool: describe(from), Within: w.Within,
	})
	if err != nil {
		return netip.Addr{}, meaning(ctx, err)
	}
	if err := mayGive(from, w.Within, addr); err != nil {
		a.Log.Error("an allocator gave what no pod may have", "allocator", from.Allocator, "pod", w.Pod.String(), "problem", err.Error())
		return netip.Addr{}, err
	}
	return addr, nil
}

// keeps refuses a store that nobody here reads: what is given for it would be taken back from a pod that has it.
func (a *Allocators) keeps(stateDir string) error {
	if filepath.Clean(stateDir) == filepath.Clean(a.Store.Dir) {
		return nil
	}
	asked, err := os.Stat(stateDir)
	own, ownErr := os.Stat(a.Store.Dir)
	if err == nil && ownErr == nil && os.SameFile(asked, own) {
		return nil
	}
	return fmt.Errorf("allocate for stateDir %s: %w, and this one's is %s: set socket to that of the ipamd of this stateDir, or remove stateDir",
		stateDir, lookup.ErrOtherStore, a.Store.Dir)
}

// pool finds the pool of a question in node.json, which may have changed since it was put.
func (a *Allocators) pool(w lookup.Want) (pool.Pool, error) {
	pools, err := a.Pools()
	if err != nil {
		return pool.Pool{}, err
	}
	i := slices.IndexFunc(pools, func(p pool.Pool) bool { return p.Name == w.Pool && p.External() })
	if i < 0 || pools[i].Prefix.Bits() > w.Within.Bits() || !pools[i].Prefix.Contains(w.Within.Addr()) {
		return pool.Pool{}, fmt.Errorf("find pool %s: node.json has no pool of that name with an allocator and with %s in it", w.Pool, w.Within)
	}
	return pools[i], nil
}

func (a *Allocators) attachment(of cni.Attachment) allocator.Attachment {
	return allocator.Attachment{Node: a.Node, ContainerID: of.ContainerID, IfName: of.IfName}
}

func describe(p pool.Pool) allocator.Pool {
	d := allocator.Pool{Name: p.Name, Prefix: p.Prefix}
	for _, r := range p.Aside {
		d.Aside = append(d.Aside, allocator.Range{First: r.First, Last: r.Last})
	}
	return d
}

// call asks until the extension has answered: one that is lost in the midst of it may have given an address, and gives
// the same when it is back. The keeper that knows of the question may not be the one that puts it.
func (a *Allocators) call(ctx context.Context, knows *keeper, from pool.Pool, r allocator.Request) (netip.Addr, error) {
	var lost error
	for {
		k, client, err := a.await(ctx, from.Allocator)
		if err != nil {
			return netip.Addr{}, errors.Join(err, lost)
		}
		if k != knows {
			knows = k
			k.ledger.question(own(r.Attachment), from.Name)
		}
		addr, err := k.ask(ctx, client, r)
		if status.Code(err) != codes.Unavailable {
			if err != nil && ctx.Err() != nil {
				err = errors.Join(err, lost) // which is why there was no time
			}
			return addr, err
		}
		if lost = err; !task.Sleep(ctx, again) {
			return netip.Addr{}, err
		}
	}
}

// arrived notes a question. It may be called without a keeper.
func (k *keeper) arrived(w lookup.Want) {
	if k != nil {
		k.ledger.question(w.Attachment, w.Pool)
	}
}

// ask asks once, when it is the attachment's turn.
func (k *keeper) ask(ctx context.Context, client allocator.Allocator, r allocator.Request) (netip.Addr, error) {
	turn, err := k.ledger.begin(ctx, own(r.Attachment))
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := client.Allocate(ctx, r)
	if err != nil {
		addr = netip.Addr{}
	}
	if k.ledger.end(turn, addr) {
		// The note of the life before would have another ipamd take back what this one is given.
		err = errors.Join(err, k.note())
	}
	return addr, err
}

// await returns the allocator's client, when it is there.
func (a *Allocators) await(ctx context.Context, name string) (*keeper, allocator.Allocator, error) {
	for {
		a.mu.Lock()
		k, news := a.keepers[name], a.news
		a.mu.Unlock()
		client, err := k.client()
		if err == nil {
			return k, client, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, nil, err
		}
	}
}

// meaning returns the error that flock-ipam is to be told.
func meaning(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, allocator.ErrExhausted):
		return meant{err, lookup.ErrExhausted}
	case errors.Is(err, allocator.ErrRefused):
		return meant{err, lookup.ErrRefused}
	case ctx.Err() != nil && !errors.Is(err, extension.ErrDown):
		return fmt.Errorf("it has not answered in time: %w", err)
	}
	return err
}

// meant is an error of the allocator's that flock-ipam knows by another.
type meant struct {
	error
	as error
}

// Is tells whether the error is what flock-ipam knows it by.
func (m meant) Is(target error) bool { return target == m.as }

// mayGive tells why no pod may have the address.
func mayGive(from pool.Pool, within netip.Prefix, addr netip.Addr) error {
	switch {
	case addr.BitLen() != within.Addr().BitLen():
		return fmt.Errorf("it gave %s, which is not %s: %w", addr, from.Family(), lookup.ErrWrong)
	case addr.Zone() != "", !within.Contains(addr):
		return fmt.Errorf("it gave %s, which is outside %s: %w", addr, within, lookup.ErrWrong)
	case from.SetAside(addr):
		return fmt.Errorf("it gave %s, which is reserved: %w", addr, lookup.ErrWrong)
	}
	return nil
}

// Abandon has taken back what was given to an attachment whose ADD has failed.
func (a *Allocators) Abandon(_ context.Context, of cni.Attachment) error {
	for _, k := range a.all() {
		k.ledger.abandon(of)
		k.trigger.Fire()
	}
	return nil
}

// Up returns why an allocator cannot be asked, nil if it can.
func (a *Allocators) Up(name string) error {
	_, err := a.get(name).client()
	return err
}

// Down returns what is wrong with the allocators, by name. One that is being started has nothing wrong yet.
func (a *Allocators) Down() map[string]error {
	down := map[string]error{}
	for _, k := range a.all() {
		if err := k.down(); err != nil {
			down[k.name] = err
		}
	}
	return down
}
