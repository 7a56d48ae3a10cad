// SPDX-License-Identifier: Apache-2.0

package allocate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/store"
)

// Allocator picks addresses. [New] makes one that uses the system's clock and randomness.
type Allocator struct {
	// CoolDown is how long a released address is not given out again.
	CoolDown time.Duration
	// SinceBoot is the clock of the cool-down.
	SinceBoot func() time.Duration
	// Random returns 64 random bits.
	Random func() uint64
}

// New returns an allocator of the given cool-down.
func New(coolDown time.Duration) Allocator {
	return Allocator{CoolDown: coolDown, SinceBoot: store.SinceBoot, Random: rand.Uint64}
}

// pruneLimit bounds how many cold addresses one allocation forgets: more than one pod releases, so
// that they do not pile up, and too few to be noticed.
const pruneLimit = 16

// Allocate picks the plan's addresses and stores them in the allocation, which it returns complete. An
// error wraps [ErrExhausted] where the pools are full, and a [*store.TakenError] where a fixed or anycast
// address, or one that an extension gave, is another attachment's. A [*NeedError] tells to ask an extension, to note
// its answer in the plan, and to begin again. The transaction must fail with any of them.
func (a Allocator) Allocate(tx *store.Tx, plan Plan, alloc store.Allocation) (store.Allocation, error) {
	picks, err := a.pick(tx, plan)
	if err != nil {
		return store.Allocation{}, err
	}
	for _, p := range picks {
		alloc.Addresses = append(alloc.Addresses, p.addr)
		if p.cursor.IsValid() {
			if err := tx.SetCursor(p.cursor, p.addr); err != nil {
				return store.Allocation{}, err
			}
		}
	}
	alloc.Anycast = plan.anycast
	if err := tx.Put(alloc); err != nil {
		return store.Allocation{}, err
	}
	return alloc, a.prune(tx)
}

// Try tells why a pod that asks for nothing in particular would get no address, and changes nothing. It goes by the
// errors of the extensions that are down: one that is up, and that no ordinary pool of its family stands before, has
// addresses; the others pods come to for want of anything else, and they need not serve every pod.
func (a Allocator) Try(tx *store.Tx, plan Plan, down map[string]error) error {
	s := a.search(tx, plan)
	for _, f := range plan.families {
		if err := s.try(f, down); err != nil {
			return err
		}
	}
	return plan.checkTaken(tx)
}

func (s search) try(f family, down map[string]error) error {
	var away []error
	for _, in := range f.first() {
		if down[in.Allocator] == nil {
			return nil
		}
		away = append(away, down[in.Allocator])
	}
	if f.sources = ordinary(f.sources); f.sources == nil {
		return errors.Join(away...)
	}
	if _, err := s.pick(f); err != nil {
		return errors.Join(append(away, err)...)
	}
	return nil
}

// prune forgets what is cold by any network's cool-down, as far as that can be known here.
func (a Allocator) prune(tx *store.Tx) error {
	now := a.SinceBoot()
	return tx.Prune(now-max(a.CoolDown, nodefile.DefaultCoolDown), now, pruneLimit)
}

// picked is an address, and the cursor that it moves, if any.
type picked struct {
	addr   netip.Addr
	cursor netip.Prefix
}

func (a Allocator) search(tx *store.Tx, plan Plan) search {
	return search{tx: tx, now: a.SinceBoot(), coolDown: a.CoolDown, random: a.Random, answers: plan.answers}
}

func (a Allocator) pick(tx *store.Tx, plan Plan) ([]picked, error) {
	s := a.search(tx, plan)
	var picks []picked
	for _, f := range plan.families {
		if f.fixed != nil {
			for _, addr := range f.fixed {
				picks = append(picks, picked{addr: addr})
			}
			continue
		}
		p, err := s.pick(f)
		if err != nil {
			return nil, err
		}
		picks = append(picks, p)
	}
	return picks, plan.checkTaken(tx)
}

// pick returns an address of the first source that has a cold one, or else the one released longest ago.
func (s search) pick(f family) (picked, error) {
	for i, in := range f.sources {
		p, ok, err := s.from(in, ordinary(f.sources[:i]))
		if err != nil || ok {
			return p, err
		}
	}
	p, ok, err := s.coolest(ordinary(f.sources))
	if err == nil && !ok {
		err = fmt.Errorf("allocate %s from %s: %w", f.Family, list(f.sources), ErrExhausted)
	}
	return p, err
}

// from returns an address of a source. An extension need not serve every pod: so it is asked when the ordinary sources
// before it have nothing at all, not even what is cooling.
func (s search) from(in source, before []source) (picked, bool, error) {
	if !in.External() {
		addr, ok, err := s.cold(in)
		return in.picked(addr), ok, err
	}
	if p, ok, err := s.coolest(before); err != nil || ok {
		return p, ok, err
	}
	addr, ok, err := s.answered(in, len(before) > 0)
	return in.picked(addr), ok, err
}

// picked notes where a sequential source goes on.
func (s source) picked(addr netip.Addr) picked {
	if s.sequential() {
		return picked{addr: addr, cursor: s.cursor}
	}
	return picked{addr: addr}
}

func list(sources []source) string {
	var all []string
	for _, s := range sources {
		all = append(all, s.String())
	}
	return strings.Join(all, ", ")
}

// checkTaken refuses a fixed or an anycast address that another attachment has.
func (p Plan) checkTaken(tx *store.Tx) error {
	fixed := p.fixed()
	for i, addr := range slices.Concat(fixed, p.anycast) {
		h, _, err := tx.Holder(addr)
		if err != nil {
			return err
		}
		if h.Free() {
			continue
		}
		key := annotation.Addresses
		if i >= len(fixed) {
			key = annotation.Anycast
		}
		return p.taken(tx, key, &store.TakenError{Address: addr, Owner: h.Owner})
	}
	return p.checkShared(tx, fixed)
}

func (p Plan) fixed() []netip.Addr {
	var fixed []netip.Addr
	for _, f := range p.families {
		fixed = append(fixed, f.fixed...)
	}
	return fixed
}

// checkShared refuses a fixed address that others share as anycast. Allocated ones cannot be: inside a
// pool anycast addresses are reserved.
func (p Plan) checkShared(tx *store.Tx, fixed []netip.Addr) error {
	if len(fixed) == 0 {
		return nil
	}
	return tx.All(func(other store.Allocation) error {
		for _, addr := range other.Anycast {
			if slices.Contains(fixed, addr) {
				return p.taken(tx, annotation.Addresses, &store.TakenError{Address: addr, Owner: other.Attachment})
			}
		}
		return nil
	})
}

// taken names the pod behind the owner, which says more than its container's ID.
func (p Plan) taken(tx *store.Tx, key string, err *store.TakenError) error {
	owner, found, readErr := tx.Get(err.Owner)
	if readErr != nil {
		return readErr
	}
	if found && owner.Pod.Name != "" {
		return bad(p.asked, key, fmt.Errorf("%w of pod %s", err, owner.Pod))
	}
	return bad(p.asked, key, err)
}
