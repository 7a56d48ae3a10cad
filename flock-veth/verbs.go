// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"flock.fritzlab.net/flock/flock-veth/internal/node"
	"flock.fritzlab.net/flock/flock-veth/internal/pair"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// del removes the pair first and lets the IPAM plugin free the addresses then: nobody may get one that
// still leads to this pod.
func del(ctx context.Context, r *cni.Request[config]) error {
	s, err := pair.Identify(r.Attachment)
	if err == nil { // a name too long for an ADD was never added
		if err := detach(r, s); err != nil {
			return cni.Wrap(cni.CodeKernel, err)
		}
	}
	return delegated(ctx, r.Conf, "DEL")
}

func detach(r *cni.Request[config], s pair.Spec) error {
	k, err := open(r.Netns)
	if err != nil {
		return err
	}
	defer k.close()
	// Where prevResult does not tell, the kernel does.
	known := r.PrevResult != nil && takeAddresses(&s, r.PrevResult.IPs, after(r.PrevResult, s.IfName)) == nil
	return pair.Remove(k.host, k.pod, s, known)
}

// check compares the pair with prevResult, and lets the IPAM plugin do the same.
func check(ctx context.Context, r *cni.Request[config]) error {
	prev, err := r.RequirePrevResult(name)
	if err != nil {
		return err
	}
	s, err := pair.Identify(r.Attachment)
	if err == nil {
		err = recorded(&s, prev)
	}
	if err != nil {
		return cni.Wrap(cni.CodeCheckMismatch, err)
	}
	k, err := open(r.Netns)
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer k.close()
	if err := pair.Check(k.host, k.pod, s); err != nil {
		return cni.Wrap(cni.CodeCheckMismatch, err)
	}
	if err := node.Check(k.host, families(s)); err != nil {
		return cni.Wrap(cni.CodeCheckMismatch, err)
	}
	return delegated(ctx, r.Conf, "CHECK")
}

// gc deletes the pairs of the network's attachments that are not valid.
func gc(ctx context.Context, r *cni.GCRequest[config]) error {
	host, err := rtnl.Dial()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	swept := cni.Wrap(cni.CodeKernel, pair.Sweep(host, r.Network, r.Valid))
	return errors.Join(swept, delegated(ctx, r.Conf, "GC"))
}

// status is the IPAM plugin's: a pair needs nothing but the kernel.
func status(ctx context.Context, r *cni.StatusRequest[config]) error {
	return delegated(ctx, r.Conf, "STATUS")
}

func delegated(ctx context.Context, c config, verb string) error {
	if c.ipam == nil {
		return nil
	}
	return asked(c.ipam.Run(ctx, verb))
}
