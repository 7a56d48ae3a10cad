// SPDX-License-Identifier: Apache-2.0

package allocate

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"flock.fritzlab.net/flock/internal/store"
)

// answerLife is how long what an extension said may be gone by: a fraction of the time after which ipamd takes an
// address back that no pod was seen with.
const answerLife = 30 * time.Second

// Need is an address that an extension has to be asked for.
type Need struct {
	Pool, Allocator string
	Within          netip.Prefix
	// Behind: ordinary pools stand before, which have nothing left.
	Behind bool
}

// NeedError tells that an allocation cannot go on without an extension's answer. A transaction is no place to wait for it.
type NeedError struct{ Need }

// Error names the pool and its allocator.
func (e *NeedError) Error() string {
	return fmt.Sprintf("ask allocator %s for an address of pool %s", e.Allocator, e.Pool)
}

// answer is what an extension said: an address, or the zero one where it had none.
type answer struct {
	address netip.Addr
	asked   time.Duration // since boot
}

// Answered returns the plan with what an extension, asked at a time since boot, said of a need: an address, or the zero one
// where the pool has none left.
func (p Plan) Answered(n Need, addr netip.Addr, asked time.Duration) Plan {
	p.answers = maps.Clone(p.answers)
	if p.answers == nil {
		p.answers = map[netip.Prefix]answer{}
	}
	p.answers[n.Within] = answer{addr, asked}
	return p
}

// Extensions returns, in order, the names of the allocators that pods in general need: of the pools that no ordinary one of
// their family stands before.
func (p Plan) Extensions() []string {
	var names []string
	for _, f := range p.families {
		for _, in := range f.first() {
			names = append(names, in.Allocator)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// first returns the extensions' sources that stand before every ordinary one.
func (f family) first() []source {
	if i := slices.IndexFunc(f.sources, isOrdinary); i >= 0 {
		return f.sources[:i]
	}
	return f.sources
}

func isOrdinary(s source) bool { return !s.External() }

// ordinary returns the sources that are no extension's, nil for none.
func ordinary(sources []source) (own []source) {
	for _, s := range sources {
		if isOrdinary(s) {
			own = append(own, s)
		}
	}
	return own
}

// answered returns the address that an extension gave from the source, and false where it has none.
func (s search) answered(in source, behind bool) (netip.Addr, bool, error) {
	got, asked := s.answers[in.part]
	switch {
	case !asked || s.now-got.asked > answerLife:
		return netip.Addr{}, false, &NeedError{Need{in.Name, in.Allocator, in.part, behind}}
	case !got.address.IsValid():
		return netip.Addr{}, false, nil
	}
	h, _, err := s.tx.Holder(got.address)
	if err == nil && !h.Free() {
		err = fmt.Errorf("take what allocator %s gives from pool %s: %w", in.Allocator, in.Name, &store.TakenError{Address: got.address, Owner: h.Owner})
	}
	return got.address, err == nil, err
}
