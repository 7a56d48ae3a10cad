// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/plugins/allocator"
)

// create makes an address the pod's, and returns errAgain: whether it is the pod's only one, the next step sees.
func (a *Allocator) create(ctx context.Context, c claim, first bool) error {
	addr := c.preferred()
	if !first || c.Pool.SetAside(addr) {
		var err error
		if addr, err = a.search(ctx, c); err != nil {
			return err
		}
	}
	o := &v1alpha1.StickyAddress{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: "StickyAddress"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.StickyAddressName(addr)},
		Spec:       v1alpha1.StickyAddressSpec{Address: addr.String(), Pool: c.Pool.Name, Owner: c.owner},
	}
	return cmp.Or(a.add(ctx, o), errAgain)
}

// preferred returns the address that the pod gets if it is free: always the same, and seldom another pod's.
func (c claim) preferred() netip.Addr {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s", c.Pool.Name, title(c.owner)))
	raw := c.Within.Masked().Addr().AsSlice()
	for i := range raw {
		own := max(0, min(8, 8*(i+1)-c.Within.Bits())) // how many bits of the byte are not the prefix's
		raw[i] |= sum[i] & byte(1<<own-1)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

// search returns the free address that comes next behind the preferred one. In an exhausted pool it frees the one that has
// been of no use for longest and returns errAgain.
func (a *Allocator) search(ctx context.Context, c claim) (netip.Addr, error) {
	taken := map[netip.Addr]bool{}
	var idle []v1alpha1.StickyAddress
	err := a.each(ctx, func(o *v1alpha1.StickyAddress) error {
		addr, err := address(o)
		if err == nil && c.Within.Contains(addr) {
			taken[addr] = true
			if o.Spec.Holder == nil && o.DeletionTimestamp == nil {
				idle = append(idle, *o)
			}
		}
		return err
	})
	if err != nil {
		return netip.Addr{}, err
	}
	if addr, ok := c.next(taken); ok {
		return addr, nil
	}
	return netip.Addr{}, a.reclaim(ctx, c, idle)
}

// next returns the first address from the preferred one on, round the end, that is neither taken nor set aside.
func (c claim) next(taken map[netip.Addr]bool) (netip.Addr, bool) {
	start := c.preferred()
	for addr, round := start, false; ; {
		i := slices.IndexFunc(c.Pool.Aside, func(r allocator.Range) bool { return !addr.Less(r.First) && !r.Last.Less(addr) })
		switch {
		case i >= 0:
			addr = c.Pool.Aside[i].Last.Next()
		case taken[addr]:
			addr = addr.Next()
		default:
			return addr, true
		}
		if !c.Within.Contains(addr) && !round {
			addr, round = c.Within.Masked().Addr(), true
		}
		if !c.Within.Contains(addr) || round && !addr.Less(start) {
			return netip.Addr{}, false
		}
	}
}

// reclaim frees the address whose pod there is no more, and that was released before any other such.
func (a *Allocator) reclaim(ctx context.Context, c claim, idle []v1alpha1.StickyAddress) error {
	slices.SortFunc(idle, func(x, y v1alpha1.StickyAddress) int { return lastUse(x).Compare(lastUse(y).Time) })
	wanted := map[v1alpha1.StickyOwner]func(int32) bool{}
	for i := range idle {
		o := &idle[i]
		set := o.Spec.Owner
		set.Ordinal = 0
		if wanted[set] == nil {
			ordinals, err := a.ordinals(ctx, set)
			if err != nil {
				return err
			}
			wanted[set] = ordinals
		}
		if wanted[set](o.Spec.Owner.Ordinal) {
			continue
		}
		if err := a.remove(ctx, o); !errors.Is(err, errAgain) {
			return cmp.Or(err, errAgain)
		}
	}
	return fmt.Errorf("%w: every address of %s belongs to a pod that there is", allocator.ErrExhausted, c.Within)
}

func lastUse(o v1alpha1.StickyAddress) *metav1.Time {
	return cmp.Or(o.Spec.Released, &o.CreationTimestamp)
}
