// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/flock-veth/internal/delegate"
	"flock.fritzlab.net/flock/flock-veth/internal/node"
	"flock.fritzlab.net/flock/flock-veth/internal/pair"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

func add(ctx context.Context, r *cni.Request[config]) (*current.Result, error) {
	s, err := pair.Identify(r.Attachment)
	if err != nil {
		return nil, cni.Wrap(types.ErrInvalidEnvironmentVariables, err)
	}
	if err := oneSource(r); err != nil {
		return nil, cni.Wrap(types.ErrInvalidNetworkConfig, err)
	}
	k, err := open(r.Netns)
	if err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	defer k.close()
	if r.Conf.ipam == nil {
		return k.attach(r, s, r.PrevResult, before(r.PrevResult))
	}
	return k.delegateAndAttach(ctx, r, s)
}

// oneSource tells whether the addresses come from one place.
func oneSource(r *cni.Request[config]) error {
	switch {
	case r.PrevResult != nil && r.Conf.ipam != nil:
		return errors.New("take the pod's addresses: both prevResult and the ipam section give some; remove the ipam section, or put flock-veth first")
	case r.PrevResult == nil && r.Conf.ipam == nil:
		return errors.New("take the pod's addresses: there is neither a prevResult nor an ipam section; put an IPAM plugin such as flock-ipam before flock-veth, or name one in its ipam section")
	}
	return nil
}

// kernel is what a verb needs to talk to both sides.
type kernel struct {
	host *rtnl.Conn
	pod  *pair.Netns // nil where the namespace is gone
}

func open(netns string) (k kernel, err error) {
	if k.host, err = rtnl.Dial(); err != nil {
		return kernel{}, err
	}
	if netns == "" {
		return k, nil
	}
	if k.pod, err = pair.OpenNetns(netns); err != nil {
		k.host.Close()
		return kernel{}, err
	}
	return k, nil
}

func (k kernel) close() {
	k.host.Close()
	if k.pod != nil {
		k.pod.Close()
	}
}

// attach makes the pair for the addresses of a result.
func (k kernel) attach(r *cni.Request[config], s pair.Spec, given *current.Result, where func(*current.IPConfig) place) (*current.Result, error) {
	if err := takeAddresses(&s, given.IPs, where); err != nil {
		return nil, cni.Wrap(types.ErrInvalidNetworkConfig, err)
	}
	if err := takeRoutes(&s, given.Routes); err != nil {
		return nil, cni.Wrap(types.ErrInvalidNetworkConfig, err)
	}
	mtu, err := r.Conf.linkMTU()
	if err != nil {
		return nil, cni.Wrap(types.ErrInvalidNetworkConfig, err)
	}
	if s.MTU, err = node.Prepare(k.host, families(s), mtu); err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	if s.MTU, err = pair.Ensure(k.host, k.pod, s); err != nil {
		return nil, coded(err)
	}
	return extend(given, s, where, r.Netns), nil
}

// delegateAndAttach asks the IPAM plugin for the addresses first. Where anything fails, and no pair
// stands that uses them, the plugin gets them back.
func (k kernel) delegateAndAttach(ctx context.Context, r *cni.Request[config], s pair.Spec) (*current.Result, error) {
	given, err := r.Conf.ipam.Add(ctx)
	if err != nil {
		given, err = k.repeat(s, err)
	}
	var result *current.Result
	if err == nil {
		given.Interfaces = nil // an IPAM plugin makes none
		result, err = k.attach(r, s, given, everything)
	}
	if err != nil && !errors.Is(err, delegate.ErrNotFound) && !pair.Stands(k.host, s) {
		err = errors.Join(err, r.Conf.ipam.Run(ctx, "DEL"))
	}
	return result, asked(err)
}

// repeat returns the addresses and routes of the pair that stands already. An IPAM plugin need not be
// idempotent: host-local refuses the second ADD of an attachment, and that must not cost a pod that
// runs its address. Without such a pair the plugin's refusal is returned.
func (k kernel) repeat(s pair.Spec, refusal error) (*current.Result, error) {
	stands, err := pair.Read(k.host, k.pod, s)
	if err != nil || len(stands.Unicast) == 0 {
		return nil, refusal
	}
	given := &current.Result{Routes: resultRoutes(stands)}
	for _, a := range stands.Unicast {
		given.IPs = append(given.IPs, &current.IPConfig{Address: cni.IPNet(cni.HostPrefix(a))})
	}
	return given, nil
}

// asked gives what went wrong with asking the IPAM plugin its error code; the plugin's own errors have one.
func asked(err error) error {
	if errors.Is(err, delegate.ErrNotFound) {
		return cni.Wrap(types.ErrInvalidNetworkConfig, err)
	}
	return err
}

// coded gives what went wrong with the pair its error code.
func coded(err error) error {
	switch {
	case errors.Is(err, pair.ErrIfNameExists):
		return cni.Wrap(cni.CodeIfNameExists, err)
	case errors.Is(err, pair.ErrTaken):
		return cni.Wrap(cni.CodeHostLinkTaken, err)
	}
	return cni.Wrap(cni.CodeKernel, err)
}
