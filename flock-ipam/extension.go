// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/flock-ipam/internal/allocate"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

const (
	// extensionWait is how long extensions may take for one ADD, all together, while ipamd or they are started perhaps.
	extensionWait = 10 * time.Second
	// upWait bounds what is to be answered at once.
	upWait = time.Second
)

// fill gives what the attachment has, or else allocates: in one transaction, and for a pool whose allocator is an
// extension in another one when that has answered.
func (o order) fill(ctx context.Context) (grant, error) {
	ctx, cancel := context.WithTimeout(ctx, extensionWait)
	defer cancel()
	asked := false
	for {
		g, err := o.once()
		need := (*allocate.NeedError)(nil)
		if errors.As(err, &need) {
			asked = true
			if err = o.ask(ctx, need.Need); err == nil {
				continue
			}
		}
		if err != nil && asked {
			o.abandon()
		}
		if errors.Is(err, allocate.ErrExhausted) && o.passed != nil {
			err = fmt.Errorf("%w; %w", err, o.passed)
		}
		return g, err
	}
}

// ask notes in the plan what the extension says. Its errors have their codes.
func (o *order) ask(ctx context.Context, need allocate.Need) error {
	begun := store.SinceBoot()
	addr, err := lookup.Allocate(ctx, o.Conf.Socket, lookup.Want{
		Attachment: o.Attachment, StateDir: o.Conf.StateDir, Pod: o.Pod, Pool: need.Pool, Within: need.Within,
	})
	switch {
	case err == nil:
	case errors.Is(err, lookup.ErrExhausted):
		o.passed = errors.Join(o.passed, because(need, err))
	case need.Behind && !errors.Is(err, lookup.ErrWrong) && !errors.Is(err, lookup.ErrOtherStore):
		// Had the pools before it an address, nobody would have asked: the pod is refused for want of that.
		o.passed = errors.Join(o.passed, because(need, err))
	default:
		return needed(need, err)
	}
	o.plan = o.plan.Answered(need, addr, begun)
	return nil
}

func because(need allocate.Need, err error) error {
	return fmt.Errorf("allocate from pool %s (allocator %s): %w", need.Pool, need.Allocator, err)
}

func needed(need allocate.Need, err error) error {
	err = because(need, err)
	switch {
	case errors.Is(err, lookup.ErrRefused):
		return cni.Wrap(cni.CodeAllocatorRefused, err)
	case errors.Is(err, lookup.ErrWrong):
		return cni.Wrap(cni.CodeAllocatorWrong, err)
	case errors.Is(err, lookup.ErrOtherStore):
		return cni.Wrap(types.ErrInvalidNetworkConfig, err)
	}
	return types.NewError(types.ErrTryAgainLater, err.Error(), "see that ipamd runs on the node, and what its log says of the allocator")
}

// abandon has what extensions gave taken back at once; if ipamd does not hear it, it finds out by itself, later.
func (o order) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), upWait)
	defer cancel()
	_ = lookup.Abandon(ctx, o.Conf.Socket, o.Attachment)
}

// askUp returns what is wrong with the allocators that pods in general need, by name.
func askUp(ctx context.Context, socket string, plan allocate.Plan) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, upWait)
	defer cancel()
	down := map[string]error{}
	for _, name := range plan.Extensions() {
		if err := lookup.Up(ctx, socket, name); err != nil {
			down[name] = fmt.Errorf("allocate by allocator %s: %w", name, err)
		}
	}
	return down
}
