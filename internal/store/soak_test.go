// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRandomLife compares a store with a map through a life of pods that come in waves and go, and holds
// against it that Verify never takes bbolt's own work for damage.
func TestRandomLife(t *testing.T) {
	s := newStore(t)
	rng := rand.New(rand.NewPCG(1, 2))
	model := map[string]string{}
	now := time.Duration(0)
	for round := range 150 {
		grow := round/25%2 == 0
		update(t, s, func(tx *Tx) error { return wave(tx, rng, model, grow, &now) })
		if err := s.Verify(); err != nil {
			t.Fatalf("round %d: verify: %v", round, err)
		}
	}
	got := owners(t, s)
	maps.DeleteFunc(got, func(_, owner string) bool { return owner == "" })
	if diff := cmp.Diff(model, got); diff != "" {
		t.Error("owners (-model +store):\n" + diff)
	}
}

// wave adds up to 40 allocations or releases as many, and prunes. model is address to container ID.
func wave(tx *Tx, rng *rand.Rand, model map[string]string, grow bool, now *time.Duration) error {
	for range rng.IntN(40) {
		*now++
		addr := fmt.Sprintf("fd00::%x", rng.IntN(2000))
		id, taken := model[addr]
		if !taken && grow {
			model[addr] = fmt.Sprint("c", *now)
			if err := tx.Put(allocation(model[addr], addr)); err != nil {
				return err
			}
			if err := tx.SetNote("route", attachment(model[addr]), note{addr}); err != nil {
				return err
			}
		}
		if grow || len(model) == 0 {
			continue
		}
		if !taken {
			addr = slices.Sorted(maps.Keys(model))[rng.IntN(len(model))]
			id = model[addr]
		}
		delete(model, addr)
		if err := tx.Release(attachment(id), *now); err != nil {
			return err
		}
		if err := tx.DeleteNote("route", attachment(id)); err != nil {
			return err
		}
	}
	return tx.Prune(max(*now, 300)-300, *now, 30)
}
