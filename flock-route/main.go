// SPDX-License-Identifier: Apache-2.0

// Command flock-route is a CNI plugin that routes a pod's addresses on its node: for each address of
// prevResult it adds a host route to the host-side interface, and it marks flock-ipam's allocation as
// committed. It works after any plugin whose result names an interface on the host: flock-veth, ptp, bridge.
//
// What it added is in the node's store as a claim, from before the first route until after the last:
// that is how it finds it again with the result, the namespace or the link gone, and how two attachments
// cannot have one address.
package main

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// stage is flock-route's name in the store.
const stage = "flock-route"

func main() {
	cni.Plugin[config]{
		Name:   stage,
		Parse:  parse,
		Add:    add,
		Del:    del,
		Check:  check,
		GC:     collect,
		Status: status,
	}.Main()
}

// add passes prevResult on as it is.
func add(_ context.Context, req *cni.Request[config]) (*current.Result, error) {
	result, err := req.RequirePrevResult(stage)
	if err != nil || len(result.IPs) == 0 {
		return nil, err
	}
	r, err := newRouter(req.Conf)
	if err != nil {
		return nil, err
	}
	defer r.close()
	wanted, err := r.claim(req)
	if err != nil {
		return nil, err
	}
	err = r.keeper.Take(req.Attachment, wanted, commit(req.Attachment), func() error { return r.install(wanted) })
	if err != nil {
		return nil, cni.Wrap(claim.Code(err), err)
	}
	return nil, nil
}

func del(_ context.Context, req *cni.Request[config]) error {
	r, err := newRouter(req.Conf)
	if err != nil {
		return err
	}
	defer r.close()
	guess := func(tx *store.Tx) (claim.Claim, error) { return r.guess(tx, req) }
	err = r.keeper.Release(req.Attachment, guess, claim.Likely(req.PrevResult)...)
	return cni.Wrap(claim.Code(err), err)
}

func collect(_ context.Context, req *cni.GCRequest[config]) error {
	r, err := newRouter(req.Conf)
	if err != nil {
		return err
	}
	defer r.close()
	err = r.keeper.Collect(req.Valid)
	return cni.Wrap(claim.Code(err), err)
}

// status is 50 when the store, without which ADD fails, does not open.
func status(_ context.Context, req *cni.StatusRequest[config]) error {
	err := req.Conf.store().View(func(*store.Tx) error { return nil })
	if err != nil {
		return cni.Wrap(types.ErrPluginNotAvailable, fmt.Errorf("look into the store: %w", err))
	}
	return nil
}

// newRouter opens what a verb needs.
func newRouter(conf config) (*router, error) {
	conn, err := rtnl.Dial()
	if err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	r := &router{conn: conn, metric: conf.metric}
	r.keeper = claim.Keeper{Store: conf.store(), Stage: stage, Undo: r.remove}
	return r, nil
}
