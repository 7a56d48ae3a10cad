// SPDX-License-Identifier: Apache-2.0

// Package retired keeps which pools the node had and has no more, while attachments still have addresses of them: such
// addresses are announced alone, and whatever restricts single addresses is to let them pass.
package retired

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Pools knows every pool that the node had since it booted, less those that it is done with.
type Pools struct {
	file  string
	used  func() ([]netip.Addr, error)
	known []netip.Prefix // nil until the file was read
}

// New returns the pools that are noted in the state folder; used returns the addresses that attachments have.
func New(stateDir string, used func() ([]netip.Addr, error)) *Pools {
	return &Pools{file: filepath.Join(stateDir, "birdd-pools"), used: used}
}

// Update notes the pools that the node has now, before anything is done for them, and returns those that it had before and
// of which an attachment has an address. A pool inside one that the node has now is not among them.
func (p *Pools) Update(now []netip.Prefix) ([]netip.Prefix, error) {
	known, err := p.read()
	if err != nil {
		return nil, err
	}
	used, err := p.used()
	if err != nil {
		return nil, err
	}
	old := slices.DeleteFunc(slices.Clone(known), func(pool netip.Prefix) bool {
		return inside(pool, now) || !slices.ContainsFunc(used, pool.Contains)
	})
	return old, p.write(sorted(slices.Concat(old, now)))
}

func inside(pool netip.Prefix, pools []netip.Prefix) bool {
	return slices.ContainsFunc(pools, func(p netip.Prefix) bool { return p.Bits() <= pool.Bits() && p.Contains(pool.Addr()) })
}

func sorted(pools []netip.Prefix) []netip.Prefix {
	return slices.Compact(slices.SortedFunc(slices.Values(pools), netip.Prefix.Compare))
}

func (p *Pools) read() ([]netip.Prefix, error) {
	if p.known != nil {
		return p.known, nil
	}
	text, err := os.ReadFile(p.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read which pools the node had: %w", err)
	}
	p.known = []netip.Prefix{}
	for line := range strings.Lines(string(text)) {
		if pool, err := netip.ParsePrefix(strings.TrimSuffix(line, "\n")); err == nil {
			p.known = append(p.known, pool)
		}
	}
	return p.known, nil
}

func (p *Pools) write(pools []netip.Prefix) error {
	if slices.Equal(pools, p.known) {
		return nil
	}
	var text strings.Builder
	for _, pool := range pools {
		fmt.Fprintln(&text, pool)
	}
	next := p.file + ".next"
	err := os.WriteFile(next, []byte(text.String()), 0o644)
	if err == nil {
		err = os.Rename(next, p.file)
	}
	if err != nil {
		return fmt.Errorf("note which pools the node has: %w", err)
	}
	p.known = pools
	return nil
}
