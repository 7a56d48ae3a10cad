// SPDX-License-Identifier: Apache-2.0

package anycast

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/plugins/cni"
)

// learn takes in what the store says of an attachment that has come or gone.
func (k *Keeper) learn(a cni.Attachment) error {
	c, _, err := k.board.Keeper().Get(a)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.index.put(a, c, k.presumed(a, c))
	return nil
}

// presumed returns the state of a claim that was just made: an immediate one is announced, another one is
// not, unless the claim is an old one made again.
func (k *Keeper) presumed(a cni.Attachment, c claim.Claim) map[netip.Addr]state {
	before := k.index.entries[a]
	is := map[netip.Addr]state{}
	for _, addr := range c.Anycast {
		is[addr] = state{announced: c.Immediate}
		if before != nil && before.claim.LinkIndex == c.LinkIndex && before.claim.Table == c.Table {
			is[addr] = before.state[addr]
		}
	}
	return is
}

// settle brings one attachment's addresses to what its pod's readiness asks for.
func (k *Keeper) settle(a cni.Attachment) error {
	e := k.index.entries[a]
	if e == nil || e.claim.Immediate || !k.synced.Load() {
		return nil
	}
	var errs []error
	wanted := ready(k.pod(e.claim.Pod))
	for _, addr := range e.claim.Anycast {
		errs = append(errs, k.settleAddress(a, addr, wanted))
	}
	return errors.Join(errs...)
}

// settleAddress has traffic on the node go to a pod before it comes from elsewhere, and not go there any
// more once it has ceased to come.
func (k *Keeper) settleAddress(a cni.Attachment, addr netip.Addr, wanted bool) error {
	is := k.index.entries[a].state[addr]
	steps := []struct {
		is *bool
		do func(cni.Attachment, netip.Addr, bool) error
	}{{&is.preferred, k.prefer}, {&is.announced, k.announce}}
	if !wanted {
		slices.Reverse(steps)
	}
	var errs []error
	for _, step := range steps {
		if *step.is == wanted {
			continue
		}
		switch err := step.do(a, addr, wanted); {
		case errors.Is(err, errGone):
		case err != nil:
			errs = append(errs, err)
		default:
			*step.is = wanted
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.index.entries[a].state[addr] = is
	return errors.Join(errs...)
}

// shown is how many errors are told at once.
const shown = 3

// some returns the first errors and the number of the others.
func some(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if more := len(errs) - shown; more > 0 {
		errs = append(errs[:shown], fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

// errGone tells that an attachment has gone, or is about to: its DEL has run or will.
var errGone = errors.New("the attachment is gone")

// announce announces or withdraws an address.
func (k *Keeper) announce(a cni.Attachment, addr netip.Addr, wanted bool) error {
	pod := k.index.entries[a].claim.Pod.String()
	if !wanted {
		if err := k.board.Withdraw(a, addr); err != nil {
			return fmt.Errorf("withdraw %s of pod %s: %w", addr, pod, err)
		}
		k.Log.Info("withdrew anycast address", "address", addr, "pod", pod)
		return nil
	}
	switch err := k.board.Announce(a, addr); {
	case errors.Is(err, announce.ErrNotClaimed), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENETDOWN):
		return errGone
	case err != nil:
		return fmt.Errorf("announce %s of pod %s: %w", addr, pod, err)
	}
	k.Log.Info("announced anycast address", "address", addr, "pod", pod)
	return nil
}
