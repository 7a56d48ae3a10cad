// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/plugins/allocator"
)

// claim is a request, and the pod that the address is to belong to.
type claim struct {
	allocator.Request
	owner v1alpha1.StickyOwner
}

// take makes the attachment the holder of the one address that its pod owns, and returns it.
func (a *Allocator) take(ctx context.Context, c claim, o *v1alpha1.StickyAddress, version string) (netip.Addr, error) {
	addr, err := c.fit(o)
	if err != nil {
		return netip.Addr{}, err
	}
	boot, err := a.boot(ctx, c.Attachment.Node)
	if err != nil {
		return netip.Addr{}, err
	}
	since := now()
	if h := o.Spec.Holder; h != nil && attachment(h) == c.Attachment {
		since = &h.Since
	} else if err := a.free(ctx, o, version); err != nil {
		return netip.Addr{}, err
	}
	o.Spec.Holder = &v1alpha1.StickyHolder{
		Node: c.Attachment.Node, BootID: boot, ContainerID: c.Attachment.ContainerID, IfName: c.Attachment.IfName,
		PodUID: c.Pod.UID, Since: *since,
	}
	o.Spec.Grants++
	if err := a.update(ctx, o); err != nil {
		return netip.Addr{}, err
	}
	return addr, a.guard(ctx, o)
}

// fit returns the address if the pod may have it where it asks now.
func (c claim) fit(o *v1alpha1.StickyAddress) (netip.Addr, error) {
	addr, err := address(o)
	if err != nil {
		return netip.Addr{}, err
	}
	why := ""
	switch {
	case !c.Within.Contains(addr):
		why = "is not in " + c.Within.String()
	case c.Pool.SetAside(addr):
		why = "is set aside there"
	case o.DeletionTimestamp != nil: // it may go at any moment
		return netip.Addr{}, fmt.Errorf("the pod's address %s is being deleted: remove the finalizers %q of StickyAddress %s", addr, o.Finalizers, o.Name)
	default:
		return addr, nil
	}
	return netip.Addr{}, fmt.Errorf("the pod's address %s %s: kubectl delete stickyaddress %s, and it gets another", addr, why, o.Name)
}

// free returns nil if the address has no holder, or one that has lost it: somebody may take its place.
func (a *Allocator) free(ctx context.Context, o *v1alpha1.StickyAddress, version string) error {
	h := o.Spec.Holder
	if h == nil {
		return nil
	}
	reason, err := a.mayRun(ctx, o)
	if err != nil || reason == "" {
		return err
	}
	return &heldError{o.Name, version, fmt.Sprintf("%s has its address %s: %s", describe(attachment(h)), o.Spec.Address, reason)}
}

// vacate writes that the address has no holder.
func (a *Allocator) vacate(ctx context.Context, o *v1alpha1.StickyAddress) error {
	o.Spec.Holder, o.Spec.Released = nil, now()
	return a.update(ctx, o)
}

// guard returns an error unless the API server keeps what is held from being deleted. It asks until it has heard so once.
func (a *Allocator) guard(ctx context.Context, o *v1alpha1.StickyAddress) error {
	if a.guarded.Load() {
		return nil
	}
	deletable, err := a.deletable(ctx, o.Name)
	if err != nil {
		return err
	}
	if deletable {
		return errors.New("the API server would delete a StickyAddress that is in use: apply deploy/components/sticky, its admission policies too")
	}
	a.guarded.Store(true)
	return nil
}

// keepOne removes what the pod owns too much: two nodes may have made an address each, both unaware of the other.
func (a *Allocator) keepOne(ctx context.Context, list *v1alpha1.StickyAddressList) error {
	keep, err := best(list.Items)
	if err != nil {
		return err
	}
	for i := range list.Items {
		if i == keep {
			continue
		}
		if err := a.remove(ctx, &list.Items[i]); err != nil {
			return err
		}
	}
	return errAgain
}

// best returns which of them is kept: the one with a holder, or else the oldest.
func best(all []v1alpha1.StickyAddress) (int, error) {
	keep := 0
	for i := range all {
		x, y := &all[keep], &all[i]
		switch {
		case x.Spec.Holder != nil && y.Spec.Holder != nil && i != keep:
			return 0, fmt.Errorf("it has the addresses %s and %s, with a holder each: delete one of the StickyAddresses, and its pod",
				x.Spec.Address, y.Spec.Address)
		case x.Spec.Holder != nil:
		case y.Spec.Holder != nil || cmp.Or(y.CreationTimestamp.Compare(x.CreationTimestamp.Time), cmp.Compare(y.Name, x.Name)) < 0:
			keep = i
		}
	}
	return keep, nil
}
