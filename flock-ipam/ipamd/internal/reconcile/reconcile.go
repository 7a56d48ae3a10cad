// SPDX-License-Identifier: Apache-2.0

// Package reconcile compares the store with what is alive on the node, and gives back what the dead have.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	// Gone tells that a pod is on this node no more, and false where that is not known; nil where there are
	// no pods to know of.
	Gone func(cni.Pod) bool
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

// Done is what a round has changed.
type Done struct {
	// Released counts the attachments whose addresses were given back, Adopted the addresses that were
	// taken into the store because they are in use.
	Released, Adopted int
	// Unseen tells of those of whom nobody can tell whether they live, and who keep what they have. It is nil if there
	// are none.
	Unseen error
}

// Round compares once and acts. It has changed nothing when it could not read everything; what else it
// found wrong it reports when it has done the rest.
func (r *Reconciler) Round(ctx context.Context) (done Done, err error) {
	if err := r.Store.Verify(); err != nil {
		return done, fmt.Errorf("verify the store: %w", err)
	}
	// The store is read first: what begins later is in what is seen later.
	books, err := r.read()
	if err != nil {
		return done, fmt.Errorf("read the store: %w", err)
	}
	seen, err := ask(ctx, r.Witnesses)
	if err != nil {
		return done, fmt.Errorf("look what is alive: %w", err)
	}
	routes, err := r.Routes()
	if err != nil {
		return done, fmt.Errorf("look what is routed: %w", err)
	}
	pools, err := r.Pools()
	if err != nil {
		return done, fmt.Errorf("read the pools: %w", err)
	}
	r.memory.next()
	released, burying := r.bury(books, seen, routes)
	forgetting := r.forget(books, seen, routes)
	adopted, adopting := r.adopt(books, routes, pools)
	return Done{released, adopted, untold(r.memory.unseen)}, errors.Join(burying, forgetting, adopting)
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

// memory holds what the last two rounds have found, and of whom this one cannot tell whether they live, with the reasons.
type memory struct {
	before, now map[any]bool
	unseen      map[cni.Attachment]string
}

func (m *memory) next() { *m = memory{m.now, map[any]bool{}, map[cni.Attachment]string{}} }

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

// finding is that an attachment is to be released.
type finding struct {
	lifetime
	// abandoned: not because it is dead, but because it was never finished and will not be.
	abandoned bool
}

// bury releases what the dead have, finished or not, and what nobody will ever finish. It returns how many
// attachments that were.
func (r *Reconciler) bury(b books, seen sightings, routes Routes) (count int, problems error) {
	condemned, problems := r.condemn(b, seen, routes)
	if len(condemned) == 0 {
		return 0, problems
	}
	var released []store.Allocation
	err := r.Store.Update(func(tx *store.Tx) error {
		released = nil // a second run begins again
		for _, f := range condemned {
			alloc, done, err := r.release(tx, f)
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
		return 0, errors.Join(problems, fmt.Errorf("release the dead: %w", err))
	}
	for _, alloc := range released {
		r.Log.Info("released", "attachment", alloc.Attachment.String(), "addresses", alloc.Addresses,
			"state", alloc.State, "pod", alloc.Pod.String(), "netns", alloc.Netns)
	}
	return len(released), problems
}

// condemn returns what two rounds in a row have found to be released.
func (r *Reconciler) condemn(b books, seen sightings, routes Routes) (condemned []finding, problems error) {
	for _, alloc := range b.allocations {
		f := finding{lifetime: lifetimeOf(alloc)}
		found, err := r.dead(alloc, b, seen, routes)
		if !found && err == nil {
			f.abandoned = true
			found, err = r.abandoned(alloc, b, routes)
		}
		problems = errors.Join(problems, err)
		if found && r.memory.again(f) {
			condemned = append(condemned, f)
		}
	}
	return condemned, problems
}

// abandoned tells that an attachment was never finished and that nobody is left who would: its pod is gone,
// no stage claims it, it has no link of flock's, and nothing is routed to its addresses. Its namespace may be there
// still: a runtime that gave up leaves one behind. That the pod is there says nothing, for a pod may have several
// sandboxes in its life.
func (r *Reconciler) abandoned(alloc store.Allocation, b books, routes Routes) (bool, error) {
	claimed := func(o owned) bool { return o.attachment == alloc.Attachment }
	if alloc.State != store.Pending || r.Gone == nil || !r.Gone(alloc.Pod) || routes.Linked[alloc.Attachment] || slices.ContainsFunc(b.claims, claimed) {
		return false, nil
	}
	used, err := routes.hosts(alloc.Addresses)
	return !used && err == nil, err
}

// release gives an allocation back if it is still the one that was found.
func (r *Reconciler) release(tx *store.Tx, f finding) (alloc store.Allocation, done bool, err error) {
	alloc, found, err := tx.Get(f.attachment)
	if err != nil || !found || lifetimeOf(alloc) != f.lifetime || f.abandoned && alloc.State != store.Pending {
		return alloc, false, err
	}
	return alloc, true, errors.Join(tx.Release(alloc.Attachment, r.SinceBoot()), tx.DeleteNote(config.Name, alloc.Attachment))
}
