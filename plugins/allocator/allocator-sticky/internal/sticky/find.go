// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
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
	err := a.each(ctx, func(o *v1alpha1.StickyAddress) error {
		addr, err := address(o)
		if err == nil && c.Within.Contains(addr) {
			taken[addr] = true
		}
		return err
	})
	if err != nil {
		return netip.Addr{}, err
	}
	if addr, ok := c.next(taken); ok {
		return addr, nil
	}
	return netip.Addr{}, a.reclaim(ctx, c)
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
func (a *Allocator) reclaim(ctx context.Context, c claim) error {
	wanted := a.wants(ctx)
	unasked := func(v1alpha1.StickyOwner) (bool, error) { return false, nil }
	// Mostly few StatefulSets need be read. All are, where those of the oldest addresses want them all.
	for _, skip := range []func(v1alpha1.StickyOwner) (bool, error){unasked, wanted} {
		idle, err := a.idle(ctx, c, skip)
		if err != nil {
			return err
		}
		for i := range idle {
			yes, err := wanted(idle[i].Spec.Owner)
			if err != nil {
				return err
			}
			if yes {
				continue
			}
			if err := a.remove(ctx, &idle[i]); !errors.Is(err, errAgain) {
				return cmp.Or(err, errAgain)
			}
		}
		if len(idle) < few {
			break
		}
	}
	return a.evict(ctx, c, wanted)
}

// few bounds how many addresses are remembered of a pool that may have tens of thousands.
const few = 100

// idle returns the few addresses without a holder that have been so for longest, in this order, less those whose owner is
// to be skipped. Of each there is what tells whose it is, and what removing it takes.
func (a *Allocator) idle(ctx context.Context, c claim, skip func(v1alpha1.StickyOwner) (bool, error)) ([]v1alpha1.StickyAddress, error) {
	var oldest []v1alpha1.StickyAddress
	err := a.each(ctx, func(o *v1alpha1.StickyAddress) error {
		addr, err := address(o)
		if err != nil || o.Spec.Holder != nil || o.DeletionTimestamp != nil || !c.Within.Contains(addr) || c.Pool.SetAside(addr) {
			return err
		}
		at, _ := slices.BinarySearchFunc(oldest, *o, func(x, y v1alpha1.StickyAddress) int { return lastUse(&x).Compare(lastUse(&y).Time) })
		if at == few {
			return nil
		}
		if not, err := skip(o.Spec.Owner); err != nil || not {
			return err
		}
		oldest = slices.Insert(oldest, at, v1alpha1.StickyAddress{
			ObjectMeta: metav1.ObjectMeta{Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, CreationTimestamp: o.CreationTimestamp},
			Spec:       v1alpha1.StickyAddressSpec{Owner: o.Spec.Owner, Released: o.Spec.Released},
		})
		oldest = oldest[:min(few, len(oldest))]
		return nil
	})
	return oldest, err
}

func lastUse(o *v1alpha1.StickyAddress) *metav1.Time {
	return cmp.Or(o.Spec.Released, &o.CreationTimestamp)
}

// wants returns what tells whether its StatefulSet wants the pod. Each set is read once.
func (a *Allocator) wants(ctx context.Context) func(v1alpha1.StickyOwner) (bool, error) {
	sets := map[v1alpha1.StickyOwner]func(int32) bool{}
	return func(pod v1alpha1.StickyOwner) (bool, error) {
		set := pod
		set.Ordinal = 0
		if sets[set] == nil {
			ordinals, err := a.ordinals(ctx, set)
			if err != nil {
				return false, err
			}
			sets[set] = ordinals
		}
		return sets[set](pod.Ordinal), nil
	}
}

// evict takes an address from a holder that no StatefulSet wants and that cannot run any more, and returns errAgain: the
// next step finds the address idle. If there is none the pool is exhausted.
func (a *Allocator) evict(ctx context.Context, c claim, wanted func(v1alpha1.StickyOwner) (bool, error)) error {
	held := map[string][]string{}
	err := a.each(ctx, func(o *v1alpha1.StickyAddress) error {
		addr, err := address(o)
		if err != nil || o.Spec.Holder == nil || !c.Within.Contains(addr) || c.Pool.SetAside(addr) {
			return err
		}
		if yes, err := wanted(o.Spec.Owner); err != nil || yes {
			return err
		}
		reason, err := a.mayRun(ctx, o)
		switch node := o.Spec.Holder.Node; {
		case err != nil:
			return err
		case reason == "":
			return cmp.Or(a.vacate(ctx, o), errAgain)
		default:
			held[node] = append(held[node], fmt.Sprintf("%s of %s: %s", addr, title(o.Spec.Owner), reason))
			return nil
		}
	})
	return cmp.Or(err, exhausted(c, held))
}

// exhausted returns the error of a pool without room. It counts what is held, by node, for no StatefulSet, and says of the
// node that has most how to get it back.
func exhausted(c claim, held map[string][]string) error {
	total, node := 0, ""
	for _, name := range slices.Sorted(maps.Keys(held)) {
		total += len(held[name])
		if len(held[name]) > len(held[node]) {
			node = name
		}
	}
	err := fmt.Errorf("%w: every address of %s belongs to a pod that its StatefulSet wants", allocator.ErrExhausted, c.Within)
	if total == 0 {
		return err
	}
	return fmt.Errorf("%w, but for %d held by pods that none wants, %d of them on node %s, such as %s",
		err, total, len(held[node]), node, held[node][0])
}
