// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"context"
	"hash/maphash"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// turns let one call after the other have its way with an attachment; some share a turn.
type turns struct {
	seed maphash.Seed
	of   [64]chan struct{}
}

func newTurns() turns {
	t := turns{seed: maphash.MakeSeed()}
	for i := range t.of {
		t.of[i] = make(chan struct{}, 1)
	}
	return t
}

// begin waits for the attachment's turn and returns what ends it.
func (t *turns) begin(ctx context.Context, a allocator.Attachment) (end func(), err error) {
	turn := t.of[maphash.Comparable(t.seed, a)%uint64(len(t.of))]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
