// SPDX-License-Identifier: Apache-2.0

// Package reconcile compares the store with what is alive on the node, and gives back what the dead have.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Reconciler compares again and again. It acts only on what two comparisons in a row have found.
type Reconciler struct {
	Store store.Store
	// Witnesses tell what is alive: whom none of them sees is dead.
	Witnesses []Witness
	// Routes returns what flock's routes lead to.
	Routes func() (Routes, error)
	// Pools returns the node's pools: their addresses belong into the store when they are in use.
	Pools func() ([]pool.Pool, error)
	// Stages are those whose claims are in the store.
	Stages []string
	// SinceBoot is the clock of the cool-down.
	SinceBoot func() time.Duration
	Log       *slog.Logger

	memory memory
}

// books is what the store says, as of one moment.
type books struct {
	allocations map[cni.Attachment]store.Allocation
	claims      []owned
	subnets     []cni.Attachment // with a note of flock-ipam
}

// owned is one stage's claim of an attachment.
type owned struct {
	stage      string
	attachment cni.Attachment
	claim      claim.Claim
}

// Round compares once and acts. It has changed nothing when it could not read everything; what else it
// found wrong it reports when it has done the rest.
func (r *Reconciler) Round(ctx context.Context) error {
	if err := r.Store.Verify(); err != nil {
		return fmt.Errorf("verify the store: %w", err)
	}
	// The store is read first: what begins later is in what is seen later.
	books, err := r.read()
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	seen, err := ask(ctx, r.Witnesses)
	if err != nil {
		return fmt.Errorf("look what is alive: %w", err)
	}
	routes, err := r.Routes()
	if err != nil {
		return fmt.Errorf("look what is routed: %w", err)
	}
	pools, err := r.Pools()
	if err != nil {
		return fmt.Errorf("read the pools: %w", err)
	}
	r.memory.next()
	return errors.Join(r.bury(books, seen), r.forget(books, seen, routes), r.adopt(books, routes, pools))
}

func (r *Reconciler) read() (books, error) {
	b := books{allocations: map[cni.Attachment]store.Allocation{}}
	err := r.Store.View(func(tx *store.Tx) error {
		err := tx.All(func(alloc store.Allocation) error {
			b.allocations[alloc.Attachment] = alloc
			return nil
		})
		for _, stage := range r.Stages {
			err = errors.Join(err, claim.Book{Tx: tx, Stage: stage}.All(func(a cni.Attachment, c claim.Claim) error {
				b.claims = append(b.claims, owned{stage, a, c})
				return nil
			}))
		}
		return errors.Join(err, store.Notes(tx, config.Name, func(a cni.Attachment, _ any) error {
			b.subnets = append(b.subnets, a)
			return nil
		}))
	})
	return b, err
}

// memory holds what the last two rounds have found.
type memory struct{ before, now map[any]bool }

func (m *memory) next() { m.before, m.now = m.now, map[any]bool{} }

// again notes a finding and tells whether the round before had it too.
func (m *memory) again(finding any) bool {
	m.now[finding] = true
	return m.before[finding]
}

// lifetime is one life of an attachment: a runtime could give the same names to another.
type lifetime struct {
	attachment cni.Attachment
	netns      string
	allocated  time.Time
}

func lifetimeOf(alloc store.Allocation) lifetime {
	return lifetime{alloc.Attachment, alloc.Netns, alloc.Allocated.UTC()}
}

// bury releases what the dead have, finished or not.
func (r *Reconciler) bury(b books, seen sightings) error {
	var problems error
	var condemned []store.Allocation
	for _, alloc := range b.allocations {
		dead, err := seen.dead(alloc)
		problems = errors.Join(problems, err)
		if dead && r.memory.again(lifetimeOf(alloc)) {
			condemned = append(condemned, alloc)
		}
	}
	if len(condemned) == 0 {
		return problems
	}
	var released []store.Allocation
	err := r.Store.Update(func(tx *store.Tx) error {
		released = nil // a second run begins again
		for _, alloc := range condemned {
			done, err := r.release(tx, alloc)
			if err != nil {
				return err
			}
			if done {
				released = append(released, alloc)
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(problems, fmt.Errorf("release the dead: %w", err))
	}
	for _, alloc := range released {
		r.Log.Info("released", "attachment", alloc.Attachment.String(), "addresses", alloc.Addresses,
			"state", alloc.State, "pod", alloc.Pod.String(), "netns", alloc.Netns)
	}
	return problems
}

// release gives an allocation back if it is still the one that was found dead.
func (r *Reconciler) release(tx *store.Tx, dead store.Allocation) (bool, error) {
	alloc, found, err := tx.Get(dead.Attachment)
	if err != nil || !found || lifetimeOf(alloc) != lifetimeOf(dead) {
		return false, err
	}
	return true, errors.Join(tx.Release(alloc.Attachment, r.SinceBoot()), tx.DeleteNote(config.Name, alloc.Attachment))
}
