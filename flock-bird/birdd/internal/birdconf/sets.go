// SPDX-License-Identifier: Apache-2.0

package birdconf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/plugins/speaker"
)

func newFamily(n int, c speaker.Config, own []netip.Addr) family {
	f := family{N: n, Bits: map[int]int{4: 32, 6: 128}[n]}
	var summaries, accept, covering []string
	for _, p := range c.Summaries {
		if isFamily(n, p.Addr()) {
			summaries = append(summaries, p.String())
		}
	}
	for _, p := range c.ExportAccept {
		if isFamily(n, p.Addr()) {
			accept = append(accept, p.String()+"+") // and everything inside
		}
	}
	for _, a := range own {
		if isFamily(n, a) && !a.IsLinkLocalUnicast() && !a.IsLoopback() {
			covering = append(covering, fmt.Sprintf("%s/%d{1,%d}", a, a.BitLen(), a.BitLen()))
		}
	}
	f.Summaries, f.ExportAccept, f.Own = set(summaries), set(accept), set(covering)
	return f
}

// importSet returns the prefixes to take, "" for none.
func importSet(n int, matches []speaker.PrefixMatch) string {
	var patterns []string
	for _, m := range matches {
		if !isFamily(n, m.Prefix.Addr()) {
			continue
		}
		pattern := m.Prefix.String()
		if m.MaxLength > m.Prefix.Bits() {
			pattern += fmt.Sprintf("{%d,%d}", m.Prefix.Bits(), m.MaxLength)
		}
		patterns = append(patterns, pattern)
	}
	return set(patterns)
}

// set returns a set in BIRD's syntax, which knows no empty one.
func set(patterns []string) string {
	if len(patterns) == 0 {
		return ""
	}
	slices.Sort(patterns)
	return "[ " + strings.Join(slices.Compact(patterns), ", ") + " ]"
}

func isFamily(n int, a netip.Addr) bool { return a.Is4() == (n == 4) }
