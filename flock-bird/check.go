// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/plugins/cni"
)

func check(_ context.Context, req *cni.Request[config]) error {
	result, err := req.RequirePrevResult(stage)
	if err != nil || len(result.IPs) == 0 {
		return err
	}
	s, err := newSpeaker(req.Conf)
	if err != nil {
		return err
	}
	defer s.close()
	wanted, err := s.claim(req)
	if err != nil {
		return err
	}
	have, found, err := s.board.Keeper().Get(req.Attachment)
	if err != nil {
		return cni.Wrap(claim.Code(err), err)
	}
	if !found {
		return cni.Wrap(cni.CodeCheckMismatch, fmt.Errorf("check: attachment %s is not in the store", req.Attachment))
	}
	if err := have.Differs(wanted); err != nil {
		return cni.Wrap(cni.CodeCheckMismatch, fmt.Errorf("check: %w", err))
	}
	return cni.Wrap(cni.CodeCheckMismatch, s.checkRoutes(have))
}

// checkRoutes looks for the routes that announce. One more than is needed is no difference: birdd
// announces anycast addresses while their pod is ready, and withdraws what a new summary covers. Whether
// anycast addresses are birdd's matter was decided at ADD and is in the claim.
func (s *speaker) checkRoutes(c claim.Claim) error {
	expected, err := s.expected(c)
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	announced, err := s.board.Announced(c)
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	for _, addr := range expected {
		if !slices.Contains(announced, addr) {
			return fmt.Errorf("check: address %s is not announced: table %d has no route to it by link %s", addr, c.Table, c.Link)
		}
	}
	return nil
}
