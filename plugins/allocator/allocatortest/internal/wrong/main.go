// SPDX-License-Identifier: Apache-2.0

// Command wrong is an allocator that breaks one rule: the one that the name it is run under stands for. Under the name
// allocator-right it breaks none. The conformance suite is tested with it, and so is ipamd.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// is tells whether the allocator has the fault.
func is(fault string) bool {
	return strings.TrimPrefix(filepath.Base(os.Args[0]), allocator.Kind+"-") == fault
}

func main() {
	b := &book{path: os.Args[0] + ".json"}
	if err := b.load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if is("other-version") {
		serveAnother(b)
		return
	}
	allocator.Serve(b)
}

// serveAnother serves a version of the contract that nobody has written.
func serveAnother(b *book) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  allocator.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{99: {allocator.Kind: &allocator.Plugin{Impl: b}}},
		GRPCServer:       plugin.DefaultGRPCServer,
	})
}

// book remembers what was given.
type book struct {
	mu    sync.Mutex
	path  string
	given []allocator.Allocation
}

// Allocate gives the lowest free address.
func (b *book) Allocate(ctx context.Context, r allocator.Request) (netip.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if addr, done, err := b.lie(r); done {
		return addr, err
	}
	if is("refuses") || !is("serves-all") && r.Pod.Namespace == "refused" {
		return netip.Addr{}, fmt.Errorf("serve pod %s: %w", r.Pod.Name, allocator.ErrRefused)
	}
	if i := slices.IndexFunc(b.given, func(g allocator.Allocation) bool { return had(g, r) }); i >= 0 {
		return b.given[i].Address, nil
	}
	addr := b.free(r)
	if !addr.IsValid() {
		return netip.Addr{}, full(r)
	}
	if is("races") {
		b.mu.Unlock()
		<-time.After(time.Millisecond)
		b.mu.Lock()
	}
	owner := r.Attachment
	if is("loses-cancelled") && endsSoon(ctx) {
		owner = allocator.Attachment{}
	}
	b.given = append(b.given, allocator.Allocation{Attachment: owner, Pool: r.Pool.Name, Address: addr, Since: since()})
	err := b.save()
	if is("crashes-once") && b.first() {
		os.Exit(3)
	}
	return addr, err
}

func endsSoon(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(5 * time.Millisecond):
		return false
	}
}

// first tells whether nobody asked before, in the life of this process or another.
func (b *book) first() bool {
	f, err := os.OpenFile(b.path+".asked", os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// had tells whether what was given is what the request is for.
func had(g allocator.Allocation, r allocator.Request) bool {
	switch {
	case is("another-address"):
		return false
	case is("forgets-pool"):
		return g.Attachment == r.Attachment
	case is("shares-name"):
		return g.Pool == r.Pool.Name && g.Attachment.ContainerID == r.Attachment.ContainerID
	case is("shares-address"):
		return g.Pool == r.Pool.Name
	}
	return g.Attachment == r.Attachment && g.Pool == r.Pool.Name
}

// free returns the lowest free address, the zero one for none.
func (b *book) free(r allocator.Request) netip.Addr {
	within, aside := r.Within, r.Pool.SetAside
	if is("ignores-within") {
		within = r.Pool.Prefix
	}
	if is("ignores-aside") {
		aside = func(netip.Addr) bool { return false }
	}
	for addr := within.Addr(); within.Contains(addr); addr = addr.Next() {
		edge := is("keeps-edges") && (addr == within.Addr() || !within.Contains(addr.Next()))
		if !aside(addr) && !edge && !b.taken(addr) {
			return addr
		}
	}
	return netip.Addr{}
}

func (b *book) taken(addr netip.Addr) bool {
	return slices.ContainsFunc(b.given, func(g allocator.Allocation) bool { return g.Address == addr })
}

func full(r allocator.Request) error {
	switch {
	case is("never-exhausted"):
		return errors.New("no address left")
	case is("refuses-when-full"):
		return allocator.ErrRefused
	}
	return fmt.Errorf("allocate from pool %s: %w", r.Pool.Name, allocator.ErrExhausted)
}

func since() time.Time {
	if is("lives-tomorrow") {
		return time.Now().Add(24 * time.Hour)
	}
	return time.Now()
}

// lie does what breaks more than a rule, and tells whether that is all there is to do.
func (b *book) lie(r allocator.Request) (addr netip.Addr, done bool, err error) {
	switch {
	case is("hangs"):
		b.mu.Unlock()
		<-make(chan struct{})
	case is("crashes"):
		os.Exit(3)
	case is("tells"):
		text, _ := json.Marshal(r)
		return netip.Addr{}, true, fmt.Errorf("%s: %w", text, allocator.ErrRefused)
	case is("waits"):
		b.first()
		for _, err := os.Stat(b.path + ".go"); err != nil; _, err = os.Stat(b.path + ".go") {
			<-time.After(10 * time.Millisecond)
		}
	case is("outside"):
		return r.Pool.Prefix.Addr().Prev(), true, nil
	case is("reserved"):
		return r.Pool.Aside[0].First, true, nil
	case is("other-family"):
		if r.Pool.Prefix.Addr().Is4() {
			return netip.MustParseAddr("fd00::1"), true, nil
		}
		return netip.MustParseAddr("10.0.0.1"), true, nil
	}
	return netip.Addr{}, false, nil
}

// Release takes back what the attachment has.
func (b *book) Release(_ context.Context, a allocator.Attachment) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.given)
	b.given = slices.DeleteFunc(b.given, func(g allocator.Allocation) bool {
		switch {
		case is("never-releases"), is("releases-one") && len(b.given) < before:
			return false
		case is("releases-container"):
			return g.Attachment.ContainerID == a.ContainerID
		case is("releases-one"):
			return g.Attachment == a && g.Address.Is4()
		}
		return g.Attachment == a
	})
	if is("complains") && len(b.given) == before {
		return fmt.Errorf("release %s: it has nothing", a.ContainerID)
	}
	if is("releases-in-memory") {
		return nil
	}
	return b.save()
}

// List returns what the node has.
func (b *book) List(_ context.Context, node string) ([]allocator.Allocation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if is("lists-nothing") {
		return nil, nil
	}
	return slices.DeleteFunc(slices.Clone(b.given), func(g allocator.Allocation) bool {
		return g.Attachment.Node != node && !is("lists-all")
	}), nil
}
