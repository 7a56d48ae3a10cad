// SPDX-License-Identifier: Apache-2.0

// Command allocator-slices is a small allocator, the example of docs/writing-an-allocator.md. A table says which
// slices of the node's pools each namespace has to itself.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
)

func main() {
	b := &book{
		table: cmp.Or(os.Getenv("SLICES_TABLE"), "/var/lib/flock/slices.json"),
		file:  cmp.Or(os.Getenv("SLICES_GIVEN"), "/run/flock/slices.json"),
	}
	if err := read(b.file, &b.given); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Fatal(err)
	}
	allocator.Serve(b)
}

// book is the allocator. What it has given is in its file too, from which it starts again.
type book struct {
	table, file string
	mu          sync.Mutex
	given       []allocator.Allocation
}

func read(file string, v any) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

// save writes the list to the file, whole or not at all, and then goes by it.
func (b *book) save(given []allocator.Allocation) error {
	raw, err := json.Marshal(given)
	if err == nil {
		err = os.WriteFile(b.file+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(b.file+".new", b.file)
	}
	if err == nil {
		b.given = given
	}
	return err
}

func (b *book) Allocate(ctx context.Context, r allocator.Request) (netip.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := map[netip.Addr]bool{}
	for _, g := range b.given {
		if g.Attachment == r.Attachment && g.Pool == r.Pool.Name {
			return g.Address, nil
		}
		taken[g.Address] = true
	}
	var table map[string][]netip.Prefix
	if err := read(b.table, &table); err != nil {
		return netip.Addr{}, err
	}
	own := table[r.Pod.Namespace]
	if len(own) == 0 {
		return netip.Addr{}, fmt.Errorf("%w: namespace %q has no slice in %s", allocator.ErrRefused, r.Pod.Namespace, b.table)
	}
	for _, slice := range own {
		addr := slices.MaxFunc([]netip.Addr{slice.Addr(), r.Within.Addr()}, netip.Addr.Compare)
		for ; slice.Contains(addr) && r.Within.Contains(addr) && ctx.Err() == nil; addr = addr.Next() {
			if !taken[addr] && !r.Pool.SetAside(addr) {
				return addr, b.save(append(b.given, allocator.Allocation{
					Attachment: r.Attachment, Pool: r.Pool.Name, Address: addr, Since: time.Now(),
				}))
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("%w in the slices of namespace %q", allocator.ErrExhausted, r.Pod.Namespace)
}

func (b *book) Release(_ context.Context, a allocator.Attachment) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.save(slices.DeleteFunc(slices.Clone(b.given), func(g allocator.Allocation) bool { return g.Attachment == a }))
}

func (b *book) List(_ context.Context, node string) ([]allocator.Allocation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.given), func(g allocator.Allocation) bool { return g.Attachment.Node != node }), nil
}
