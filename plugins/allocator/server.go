// SPDX-License-Identifier: Apache-2.0

package allocator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"flock.fritzlab.net/flock/plugins/allocator/proto"
)

// server is the extension's side of the contract.
type server struct {
	proto.UnimplementedAllocatorServer
	impl Allocator
}

// Allocate implements [proto.AllocatorServer].
func (s *server) Allocate(ctx context.Context, r *proto.AllocateRequest) (*proto.AllocateResponse, error) {
	req, err := readRequest(r)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	addr, err := s.impl.Allocate(ctx, req)
	if err != nil {
		return nil, onWire(err)
	}
	return &proto.AllocateResponse{Address: addr.String()}, nil
}

// Release implements [proto.AllocatorServer].
func (s *server) Release(ctx context.Context, r *proto.ReleaseRequest) (*proto.ReleaseResponse, error) {
	if err := s.impl.Release(ctx, readAttachment(r.GetAttachment())); err != nil {
		return nil, onWire(err)
	}
	return &proto.ReleaseResponse{}, nil
}

// List implements [proto.AllocatorServer].
func (s *server) List(ctx context.Context, r *proto.ListRequest) (*proto.ListResponse, error) {
	all, err := s.impl.List(ctx, r.GetNode())
	if err != nil {
		return nil, onWire(err)
	}
	answer := new(proto.ListResponse)
	for _, a := range all {
		one := &proto.Allocation{Attachment: writeAttachment(a.Attachment), Pool: a.Pool, Address: a.Address.String()}
		if !a.Since.IsZero() {
			one.SinceMs = a.Since.UnixMilli()
		}
		answer.Allocations = append(answer.Allocations, one)
	}
	return answer, nil
}

// onWire gives an error the status code that the other side knows it by.
func onWire(err error) error {
	code := codes.Unknown
	switch {
	case errors.Is(err, ErrExhausted):
		code = codes.NotFound
	case errors.Is(err, ErrRefused):
		code = codes.FailedPrecondition
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}

func readRequest(r *proto.AllocateRequest) (Request, error) {
	pod, owner := r.GetPod(), r.GetPod().GetOwner()
	pool, err := readPool(r.GetPool())
	if err != nil {
		return Request{}, err
	}
	within, err := netip.ParsePrefix(r.GetWithin())
	if err != nil {
		return Request{}, fmt.Errorf("read within: %w", err)
	}
	return Request{
		Attachment: readAttachment(r.GetAttachment()),
		Pod: Pod{
			Namespace: pod.GetNamespace(), Name: pod.GetName(), UID: pod.GetUid(),
			Labels: pod.GetLabels(), Annotations: pod.GetAnnotations(),
			Owner: Owner{APIVersion: owner.GetApiVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUid()},
		},
		Pool: pool, Within: within,
	}, nil
}

func readPool(p *proto.Pool) (Pool, error) {
	prefix, err := netip.ParsePrefix(p.GetPrefix())
	if err != nil {
		return Pool{}, fmt.Errorf("read pool %q: %w", p.GetName(), err)
	}
	pool := Pool{Name: p.GetName(), Prefix: prefix}
	for _, r := range p.GetAside() {
		first, err := netip.ParseAddr(r.GetFirst())
		if err != nil {
			return Pool{}, fmt.Errorf("read what is set aside in pool %q: %w", p.GetName(), err)
		}
		last, err := netip.ParseAddr(r.GetLast())
		if err != nil {
			return Pool{}, fmt.Errorf("read what is set aside in pool %q: %w", p.GetName(), err)
		}
		pool.Aside = append(pool.Aside, Range{first, last})
	}
	return pool, nil
}

func readAttachment(a *proto.Attachment) Attachment {
	return Attachment{Node: a.GetNode(), ContainerID: a.GetContainerId(), IfName: a.GetIfName()}
}

func writeAttachment(a Attachment) *proto.Attachment {
	return &proto.Attachment{Node: a.Node, ContainerId: a.ContainerID, IfName: a.IfName}
}

// readTime returns the zero time for 0.
func readTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
