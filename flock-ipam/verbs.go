// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/flock-ipam/internal/allocate"
	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// del frees what the attachment has, and needs nothing but its name for it.
func del(_ context.Context, req *request) error {
	return coded(openStore(req.Conf).Update(func(tx *store.Tx) error {
		return release(tx, req.Attachment, store.SinceBoot())
	}))
}

// release gives the addresses of an attachment back. One without any is not an error.
func release(tx *store.Tx, a cni.Attachment, sinceBoot time.Duration) error {
	return errors.Join(tx.Release(a, sinceBoot), tx.DeleteNote(config.Name, a))
}

// check compares the store with prevResult.
func check(_ context.Context, req *request) error {
	prev, err := req.RequirePrevResult(config.Name)
	if err != nil {
		return err
	}
	unicast, anycast, err := cni.Addresses(prev)
	if err != nil {
		return cni.Wrap(types.ErrDecodingFailure, err)
	}
	return coded(openStore(req.Conf).View(func(tx *store.Tx) error {
		alloc, found, err := tx.Get(req.Attachment)
		if err != nil {
			return err
		}
		diff := errors.New("the store has no allocation for it")
		if found {
			diff = difference(alloc, unicast, anycast, req.Conf.Delegated())
		}
		if diff != nil {
			return cni.Wrap(cni.CodeCheckMismatch, fmt.Errorf("check attachment %s: %w", req.Attachment, diff))
		}
		return nil
	}))
}

// difference returns the first difference between an allocation and prevResult. What a main plugin's
// result holds beside the allocation is that plugin's.
func difference(alloc store.Allocation, unicast, anycast []netip.Addr, delegated bool) error {
	for _, side := range []struct {
		all, some []netip.Addr
		text      string
		skip      bool
	}{
		{all: unicast, some: alloc.Addresses, text: "%s is allocated and not in prevResult"},
		{all: anycast, some: alloc.Anycast, text: "anycast %s is allocated and not on lo in prevResult"},
		{all: alloc.Addresses, some: unicast, text: "%s is in prevResult and not allocated", skip: delegated},
		{all: alloc.Anycast, some: anycast, text: "anycast %s is in prevResult and not allocated", skip: delegated},
	} {
		for _, addr := range side.some {
			if !side.skip && !slices.Contains(side.all, addr) {
				return fmt.Errorf(side.text, addr)
			}
		}
	}
	return nil
}

// collect frees what belongs to attachments of this network that are not valid any more.
func collect(_ context.Context, req *cni.GCRequest[config.Config]) error {
	return coded(openStore(req.Conf).Update(func(tx *store.Tx) error {
		stale := map[cni.Attachment]bool{}
		note := func(a cni.Attachment) {
			if !req.Valid(a) {
				stale[a] = true
			}
		}
		err := errors.Join(
			tx.All(func(alloc store.Allocation) error { note(alloc.Attachment); return nil }),
			store.Notes(tx, config.Name, func(a cni.Attachment, _ []subnet) error { note(a); return nil }))
		now := store.SinceBoot()
		for a := range stale {
			err = errors.Join(err, release(tx, a, now))
		}
		return err
	}))
}

// status tries, without storing anything, what a pod would get that asks for nothing in particular.
func status(ctx context.Context, req *cni.StatusRequest[config.Config]) error {
	node, err := req.Conf.Node()
	if err != nil {
		return unavailable(err)
	}
	plan, err := allocate.NewPlan(allocate.Wish{
		Node: node, Delegated: req.Conf.Delegated(), Gateway: req.Conf.Form == config.Subnet,
	})
	if err != nil {
		return unavailable(err)
	}
	down := askUp(ctx, req.Conf.Socket, plan)
	return unavailable(openStore(req.Conf).View(func(tx *store.Tx) error {
		return allocate.New(node.CoolDown).Try(tx, plan, down)
	}))
}

// unavailable tells the runtime that an ADD would fail.
func unavailable(err error) error { return cni.Wrap(types.ErrPluginNotAvailable, err) }
