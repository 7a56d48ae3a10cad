// SPDX-License-Identifier: Apache-2.0

// Command flock-bird is a CNI plugin that announces a pod's addresses to the node's BGP routers, as far
// as no summary of the node announces them already. To announce an address is to put a route into a
// table of the kernel that BIRD, or another BGP speaker, reads; the plugin speaks to no daemon for it.
//
// Anycast addresses it leaves to birdd, which announces them while the pod is ready, unless it is
// configured to announce them at once.
package main

import (
	"context"
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/hint"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

const stage = announce.Stage

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

// speaker announces for one request.
type speaker struct {
	conn  *rtnl.Conn
	board *announce.Board
	conf  config
}

func newSpeaker(conf config) (*speaker, error) {
	conn, err := rtnl.Dial()
	if err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	return &speaker{conn: conn, board: announce.NewBoard(conn, conf.store()), conf: conf}, nil
}

func (s *speaker) close() { s.conn.Close() }

// claim returns what prevResult says may be announced.
func (s *speaker) claim(req *cni.Request[config]) (claim.Claim, error) {
	c, err := claim.FromResult(s.conn, req.PrevResult)
	if err != nil {
		return claim.Claim{}, err
	}
	c.Pod, c.Netns, c.Table, c.Immediate = req.Pod, req.Netns, s.conf.table, s.conf.immediate
	return c, nil
}

// add passes prevResult on as it is.
func add(_ context.Context, req *cni.Request[config]) (*current.Result, error) {
	result, err := req.RequirePrevResult(stage)
	if err != nil || len(result.IPs) == 0 {
		return nil, err
	}
	s, err := newSpeaker(req.Conf)
	if err != nil {
		return nil, err
	}
	defer s.close()
	c, err := s.claim(req)
	if err != nil {
		return nil, err
	}
	nothingElse := func(*store.Tx) error { return nil }
	err = s.board.Keeper().Take(req.Attachment, c, nothingElse, func() error { return s.announce(c) })
	if err != nil {
		return nil, cni.Wrap(claim.Code(err), err)
	}
	hint.Send(req.Conf.stateDir, hint.Hint{Attachment: req.Attachment})
	return nil, nil
}

// announce announces of a new claim what is not to wait for the pod to be ready.
func (s *speaker) announce(c claim.Claim) error {
	addrs, err := s.expected(c)
	if err != nil {
		return err
	}
	return s.board.Install(c, addrs...)
}

// expected returns the addresses that need a route of their own from the beginning.
func (s *speaker) expected(c claim.Claim) ([]netip.Addr, error) {
	addrs, err := s.board.Uncovered(c.Table, c.Unicast)
	if c.Immediate {
		addrs = slices.Concat(addrs, c.Anycast)
	}
	return addrs, err
}

func del(_ context.Context, req *cni.Request[config]) error {
	s, err := newSpeaker(req.Conf)
	if err != nil {
		return err
	}
	defer s.close()
	guess := func(*store.Tx) (claim.Claim, error) { return s.guess(req), nil }
	err = s.board.Keeper().Release(req.Attachment, guess, claim.Likely(req.PrevResult)...)
	if err != nil {
		return cni.Wrap(claim.Code(err), err)
	}
	hint.Send(req.Conf.stateDir, hint.Hint{Attachment: req.Attachment})
	return nil
}

// guess returns what a DEL without a claim may have to withdraw, the store having been lost: what
// prevResult names. Where that is nothing of this host, there is no route either: it died with its link.
func (s *speaker) guess(req *cni.Request[config]) claim.Claim {
	if req.PrevResult == nil {
		return claim.Claim{}
	}
	c, err := s.claim(req)
	if err != nil {
		return claim.Claim{}
	}
	return c
}

func collect(_ context.Context, req *cni.GCRequest[config]) error {
	s, err := newSpeaker(req.Conf)
	if err != nil {
		return err
	}
	defer s.close()
	err = s.board.Keeper().Collect(req.Valid)
	return cni.Wrap(claim.Code(err), err)
}
