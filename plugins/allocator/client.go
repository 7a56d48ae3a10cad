// SPDX-License-Identifier: Apache-2.0

package allocator

import (
	"context"
	"fmt"
	"net/netip"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"flock.fritzlab.net/flock/plugins/allocator/proto"
)

// client is the daemon's side of the contract.
type client struct{ remote proto.AllocatorClient }

// Allocate implements [Allocator].
func (c *client) Allocate(ctx context.Context, r Request) (netip.Addr, error) {
	answer, err := c.remote.Allocate(ctx, writeRequest(r))
	if err != nil {
		return netip.Addr{}, offWire(err)
	}
	return readAddr(answer.GetAddress())
}

// Release implements [Allocator].
func (c *client) Release(ctx context.Context, a Attachment) error {
	_, err := c.remote.Release(ctx, &proto.ReleaseRequest{Attachment: writeAttachment(a)})
	return offWire(err)
}

// List implements [Allocator].
func (c *client) List(ctx context.Context, node string) ([]Allocation, error) {
	answer, err := c.remote.List(ctx, &proto.ListRequest{Node: node})
	if err != nil {
		return nil, offWire(err)
	}
	var all []Allocation
	for _, a := range answer.GetAllocations() {
		addr, err := readAddr(a.GetAddress())
		if err != nil {
			return nil, err
		}
		all = append(all, Allocation{
			Attachment: readAttachment(a.GetAttachment()), Pool: a.GetPool(), Address: addr, Since: readTime(a.GetSinceMs()),
		})
	}
	return all, nil
}

func readAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read the allocator's answer: %w", err)
	}
	return addr, nil
}

func writeRequest(r Request) *proto.AllocateRequest {
	pool := &proto.Pool{Name: r.Pool.Name, Prefix: r.Pool.Prefix.String()}
	for _, aside := range r.Pool.Aside {
		pool.Aside = append(pool.Aside, &proto.Range{First: aside.First.String(), Last: aside.Last.String()})
	}
	pod := &proto.Pod{
		Namespace: r.Pod.Namespace, Name: r.Pod.Name, Uid: r.Pod.UID, Labels: r.Pod.Labels, Annotations: r.Pod.Annotations,
	}
	if o := r.Pod.Owner; o != (Owner{}) {
		pod.Owner = &proto.Owner{ApiVersion: o.APIVersion, Kind: o.Kind, Name: o.Name, Uid: o.UID}
	}
	return &proto.AllocateRequest{
		Attachment: writeAttachment(r.Attachment), Pod: pod, Pool: pool, Within: r.Within.String(),
	}
}

// remoteError has the text of the other side, and is the error that its status code stands for.
type remoteError struct {
	status *status.Status
	is     error
}

// Error returns the text alone, in which the other side has said it all.
func (e *remoteError) Error() string { return e.status.Message() }

// Unwrap returns what the error is on both sides.
func (e *remoteError) Unwrap() error { return e.is }

// GRPCStatus is for those who want to know whether the other side said it at all.
func (e *remoteError) GRPCStatus() *status.Status { return e.status }

// offWire returns the error of a status, so that [errors.Is] finds in it what was sent.
func offWire(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	same := map[codes.Code]error{
		codes.NotFound: ErrExhausted, codes.FailedPrecondition: ErrRefused,
		codes.Canceled: context.Canceled, codes.DeadlineExceeded: context.DeadlineExceeded,
	}[s.Code()]
	return &remoteError{s, same}
}
