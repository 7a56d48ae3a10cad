// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

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
	if !slices.Contains(o.Finalizers, v1alpha1.StickyFinalizer) {
		o.Finalizers = append(o.Finalizers, v1alpha1.StickyFinalizer)
	}
	return addr, a.update(ctx, o)
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
	default:
		return addr, nil
	}
	return netip.Addr{}, fmt.Errorf("the pod's address %s %s: kubectl delete stickyaddress %s, and it gets another", addr, why, o.Name)
}

// free returns nil if the address has no holder, or one that has lost it, and somebody may take its place.
func (a *Allocator) free(ctx context.Context, o *v1alpha1.StickyAddress, version string) error {
	if h := o.Spec.Holder; h != nil {
		reason, err := a.mayRun(ctx, o)
		if err != nil {
			return err
		}
		if reason != "" {
			return &heldError{o.Name, version, fmt.Sprintf("%s has its address %s: %s", describe(attachment(h)), o.Spec.Address, reason)}
		}
	}
	switch {
	case o.DeletionTimestamp == nil:
		return nil
	case slices.Contains(o.Finalizers, v1alpha1.StickyFinalizer):
		return cmp.Or(a.vacate(ctx, o), errAgain)
	}
	return &heldError{o.Name, version, fmt.Sprintf("its address %s is being deleted: remove the finalizers %q from StickyAddress %s",
		o.Spec.Address, o.Finalizers, o.Name)}
}

// vacate writes that the address has no holder. One that was deleted meanwhile then goes.
func (a *Allocator) vacate(ctx context.Context, o *v1alpha1.StickyAddress) error {
	o.Spec.Holder, o.Spec.Released = nil, now()
	o.Finalizers = slices.DeleteFunc(o.Finalizers, func(f string) bool { return f == v1alpha1.StickyFinalizer })
	return a.update(ctx, o)
}

// keepOne removes what the pod owns too much: two nodes may have made an address each, both unaware of the other.
func (a *Allocator) keepOne(ctx context.Context, list *v1alpha1.StickyAddressList) error {
	for i := range list.Items {
		if o := &list.Items[i]; o.DeletionTimestamp != nil {
			return cmp.Or(a.free(ctx, o, list.ResourceVersion), errAgain)
		}
	}
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
