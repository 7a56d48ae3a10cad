// SPDX-License-Identifier: Apache-2.0

// Package sticky is an allocator whose addresses stay with the pods of StatefulSets. Each address is an object of the API
// server, a StickyAddress, that says whose it is, and who has it now: its holder, one attachment.
//
// # Why no address is ever two pods'
//
// The object is named after the address, so there is one, and it has one holder. An address is given only by a write that
// makes the attachment its holder and that the API server accepts for the very version which was read just before.
// Others take the holder's place, or the address from it, only when
//
//   - the holder's node has released it: the pod's network is gone, and ipamd says so; or
//   - the holder's node was rebooted since: its Node names another boot than the holder; or
//   - the holder's Node is not ready and an operator has tainted it node.kubernetes.io/out-of-service: the machine is off.
//
// Nothing else counts: not that the node is silent, however long, nor that pod or Node are deleted. So a boot is noted
// only where the Node and the node's kernel agree on it, and nobody becomes a holder on a Node that has the taint, which
// would speak of an earlier time. A Node's name stands for one machine; no clock has a say.
//
// # Why no pod has two addresses of a pool
//
// An address is given only when a list, read from the API server and no cache, shows it as the one that the pod owns in the
// pool. Say two were given to one pod, x by an earlier list and y by a later. The earlier has no y, the later no x: x was
// deleted in between. While x is held the API server refuses that, by the policy flock-sticky-held; and if it went before it
// was held, the write that would have made it so found nothing. (A finalizer would not do. The API server looks for
// finalizers first and deletes then, whatever has been written in between; a policy is asked about the very version.)
//
// # Lost answers
//
// What was written and not heard of is found by the list of the next call. A write is not cut short when the caller gives
// up, and calls for one attachment take turns, so that a Release finds what an Allocate before it wrote. Each grant
// is a write, also to who holds the address already: a late release of the grant before is then of another version, and
// has no effect.
package sticky

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/plugins/allocator"
)

// Allocator gives the pods of StatefulSets their addresses. It implements [allocator.Allocator].
type Allocator struct {
	cluster
	// bootID returns what the kernel calls the time since it was started.
	bootID func() (string, error)
	turns  turns
	// guarded is set once it is known that what is held cannot be deleted.
	guarded atomic.Bool
}

// Connect returns an allocator for the cluster that the kubeconfig file names, or, with an empty name, for the cluster in
// whose pod the program runs. An error is about the credentials.
func Connect(kubeconfig string) (*Allocator, error) {
	config, err := kube.Load(kubeconfig)
	if err != nil {
		return nil, err
	}
	config.UserAgent = "allocator-sticky"
	config.QPS, config.Burst = 200, 400 // a node's pods may all start at once, with four requests each
	c, err := newCluster(config)
	if err != nil {
		return nil, err
	}
	return &Allocator{cluster: c, bootID: readBootID, turns: newTurns()}, nil
}

// errAgain says that somebody wrote, we or another, and that what there is has to be read anew.
var errAgain = errors.New("it has changed meanwhile")

// Allocate implements [allocator.Allocator]. While another attachment holds the pod's address it waits for most of the time
// that it has; its error then says who, and what to do.
func (a *Allocator) Allocate(ctx context.Context, r allocator.Request) (netip.Addr, error) {
	owner, err := ownerOf(r.Pod)
	if err != nil {
		return netip.Addr{}, err
	}
	ctx, cancel := early(ctx)
	defer cancel()
	addr, err := a.claim(ctx, claim{r, owner})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("give %s an address of pool %s: %w", title(owner), r.Pool.Name, err)
	}
	return addr, nil
}

// claim takes steps until there is an address, or an error that waiting does not help.
func (a *Allocator) claim(ctx context.Context, c claim) (netip.Addr, error) {
	var held *heldError
	for first := true; ; first = false {
		addr, err := a.step(ctx, c, first)
		switch {
		case err == nil:
			return addr, nil
		case ctx.Err() != nil && held != nil:
			return netip.Addr{}, held
		case errors.As(err, &held):
			a.await(ctx, held)
		case !errors.Is(err, errAgain):
			return netip.Addr{}, err
		}
	}
}

// step looks at what the pod owns in the pool, and does the one thing that there is to do then.
func (a *Allocator) step(ctx context.Context, c claim, first bool) (netip.Addr, error) {
	end, err := a.turns.begin(ctx, c.Attachment)
	if err != nil {
		return netip.Addr{}, err
	}
	defer end()
	list, err := a.list(ctx, fields.Set{
		"spec.pool": c.Pool.Name, "spec.owner.namespace": c.owner.Namespace,
		"spec.owner.statefulSet": c.owner.StatefulSet, "spec.owner.ordinal": fmt.Sprint(c.owner.Ordinal),
	})
	if err != nil {
		return netip.Addr{}, err
	}
	switch len(list.Items) {
	case 0:
		return netip.Addr{}, a.create(ctx, c, first)
	case 1:
		return a.take(ctx, c, &list.Items[0], list.ResourceVersion)
	}
	return netip.Addr{}, a.keepOne(ctx, list)
}

// Release implements [allocator.Allocator]. A grant that was made after it was called stays.
func (a *Allocator) Release(ctx context.Context, at allocator.Attachment) error {
	end, err := a.turns.begin(ctx, at)
	if err != nil {
		return fmt.Errorf("release what %s has: %w", describe(at), err)
	}
	defer end()
	list, err := a.list(ctx, fields.Set{"spec.holder.node": at.Node, "spec.holder.containerID": at.ContainerID})
	if err != nil {
		return fmt.Errorf("release what %s has: %w", describe(at), err)
	}
	var errs []error
	for i := range list.Items {
		if o := &list.Items[i]; o.Spec.Holder != nil && attachment(o.Spec.Holder) == at {
			errs = append(errs, a.release(ctx, o))
		}
	}
	return errors.Join(errs...)
}

// release takes the address from the holder that it has in o. Who became the holder since then, remains it.
func (a *Allocator) release(ctx context.Context, o *v1alpha1.StickyAddress) error {
	for uid, grants := o.UID, o.Spec.Grants; ; {
		err := a.vacate(ctx, o)
		if !errors.Is(err, errAgain) {
			return err
		}
		if o, err = a.get(ctx, o.Name); err != nil {
			return err
		}
		if o == nil || o.UID != uid || o.Spec.Holder == nil || o.Spec.Grants != grants {
			return nil
		}
	}
}

// List implements [allocator.Allocator].
func (a *Allocator) List(ctx context.Context, node string) ([]allocator.Allocation, error) {
	list, err := a.list(ctx, fields.Set{"spec.holder.node": node})
	if err != nil {
		return nil, err
	}
	var all []allocator.Allocation
	for _, o := range list.Items {
		if o.Spec.Holder == nil {
			continue // no node is named
		}
		addr, err := address(&o)
		if err != nil {
			return nil, err
		}
		all = append(all, allocator.Allocation{
			Attachment: attachment(o.Spec.Holder), Pool: o.Spec.Pool, Address: addr, Since: o.Spec.Holder.Since.Time,
		})
	}
	return all, nil
}

// address returns the object's, which the API server has checked.
func address(o *v1alpha1.StickyAddress) (netip.Addr, error) {
	addr, err := netip.ParseAddr(o.Spec.Address)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read StickyAddress %s: %w", o.Name, err)
	}
	return addr, nil
}

func attachment(h *v1alpha1.StickyHolder) allocator.Attachment {
	return allocator.Attachment{Node: h.Node, ContainerID: h.ContainerID, IfName: h.IfName}
}

// describe names an attachment in few words.
func describe(a allocator.Attachment) string {
	return fmt.Sprintf("%.12s/%s on node %s", a.ContainerID, a.IfName, a.Node)
}

func now() *metav1.Time { t := metav1.NewTime(time.Now().Truncate(time.Second)); return &t }
