// SPDX-License-Identifier: Apache-2.0

// Package allocator is the contract between ipamd and a program that picks the addresses of a pool, for those that
// flock's own allocators, random and sequential, do not suit. Such a program is called allocator- and its name; a pool
// whose allocator is of that name gets its addresses from it. package allocatortest tells whether an allocator
// keeps the contract, docs/writing-an-allocator.md shows how to write one.
//
// What an allocator gives is checked: an address outside the pool, set aside in it, or held by another attachment of the
// node fails the pod's ADD. flock-ipam keeps its own record of what a pod has, so that a DEL needs no allocator; ipamd
// releases with the allocator afterwards what no attachment has any more, however often it takes.
package allocator

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Allocator picks addresses and remembers whose they are. It is called by the daemons of one node, several calls at once.
type Allocator interface {
	// Allocate returns the address of the request's attachment in the pool: the one that it has there, or else a
	// new one, that nobody has on any node. The caller may give up, and ask again for the same: nothing is lost. An
	// error that matches [ErrExhausted] sends the pod to the next pool of the family, one that matches [ErrRefused] will
	// not change; any other is worth another try.
	Allocate(context.Context, Request) (netip.Addr, error)
	// Release takes back what the attachment has in all pools. That it has nothing is not an error.
	Release(context.Context, Attachment) error
	// List returns what attachments of the node have, in any order.
	List(ctx context.Context, node string) ([]Allocation, error)
}

// Errors that mean the same on both sides of the contract. What wraps them arrives with its text.
var (
	// ErrExhausted: the pool has no address for the request.
	ErrExhausted = errors.New("the pool has no free address")
	// ErrRefused: the allocator serves no such request, as when a pod is of no kind that it knows.
	ErrRefused = errors.New("the allocator does not serve the pod")
)

// Attachment names a pod's interface on a node (CNI spec, section 2: CNI_CONTAINERID and CNI_IFNAME).
type Attachment struct {
	Node        string
	ContainerID string
	IfName      string
}

// Request asks for one address.
type Request struct {
	Attachment Attachment
	Pod        Pod
	Pool       Pool
	// Within is the part of the pool that the address has to be in: the pool's own prefix unless the pod asked for less.
	Within netip.Prefix
}

// Pod is the pod that an address is for, as the API server tells of it.
type Pod struct {
	Namespace, Name, UID string
	Labels, Annotations  map[string]string
	// Owner is the controller, zero where there is none.
	Owner Owner
}

// Owner is the controller of a pod, such as a StatefulSet.
type Owner struct {
	APIVersion, Kind, Name, UID string
}

// Pool is one pool of the node's NodeConfig. Nodes may have the same pool.
type Pool struct {
	Name   string
	Prefix netip.Prefix
	// Aside are the ranges of it that no pod gets, in order and disjoint.
	Aside []Range
}

// Range is the addresses from First to Last, both included.
type Range struct{ First, Last netip.Addr }

// SetAside tells whether no pod gets the address.
func (p Pool) SetAside(addr netip.Addr) bool {
	for _, r := range p.Aside {
		if !addr.Less(r.First) && !r.Last.Less(addr) {
			return true
		}
	}
	return false
}

// Allocation is an address that an attachment has.
type Allocation struct {
	Attachment Attachment
	// Pool is the pool's name.
	Pool    string
	Address netip.Addr
	// Since is when it was given.
	Since time.Time
}
