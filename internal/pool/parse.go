// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Spec is a pool as the user writes it: an object, or its CIDR alone as a string.
type Spec struct {
	// Name is the CIDR when it is absent.
	Name string `json:"name,omitempty"`
	CIDR string `json:"cidr"`
	// Gateway is the first host address when it is absent.
	Gateway string `json:"gateway,omitempty"`
	// Reserved lists addresses, CIDRs and ranges "first-last" that are not to be allocated.
	Reserved []string `json:"reserved,omitempty"`
	// Allocator picks the addresses: random, sequential or the name of an extension.
	Allocator string `json:"allocator,omitempty"`
}

// UnmarshalJSON reads a string or an object, and refuses a key that it does not know, by name. YAML
// that is converted to JSON first reads the same.
func (s *Spec) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		*s = Spec{}
		return json.Unmarshal(raw, &s.CIDR)
	}
	type plain Spec // without this method
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode((*plain)(s)); err != nil {
		return fmt.Errorf("read a pool: %s: want a CIDR, or an object of name, cidr, gateway, reserved and allocator",
			strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// Parse checks pools and returns them in their order. Its error names the pool and what to do.
func Parse(specs []Spec) ([]Pool, error) {
	pools := make([]Pool, 0, len(specs))
	for i, spec := range specs {
		p, err := parseOne(spec)
		if err != nil {
			return nil, fmt.Errorf("parse pool %s: %w", spec.label(i), err)
		}
		pools = append(pools, p)
	}
	if err := checkDistinct(pools); err != nil {
		return nil, err
	}
	return pools, nil
}

// label names a pool that may not have a usable name.
func (s Spec) label(index int) string {
	switch {
	case s.Name != "":
		return fmt.Sprintf("%.100q", s.Name)
	case s.CIDR != "":
		return fmt.Sprintf("%.100q", s.CIDR)
	}
	return fmt.Sprintf("number %d", index+1)
}

func parseOne(spec Spec) (Pool, error) {
	if spec.CIDR == "" {
		return Pool{}, fmt.Errorf("no cidr: add one such as 2001:db8::/64")
	}
	prefix, err := ParsePrefix(spec.CIDR)
	if err != nil {
		return Pool{}, fmt.Errorf("cidr %w", err)
	}
	if err := checkUse(prefix); err != nil {
		return Pool{}, err
	}
	if err := checkAllocator(spec.Allocator); err != nil {
		return Pool{}, err
	}
	p := Pool{Name: spec.Name, Prefix: prefix, Allocator: spec.Allocator}
	if p.Name == "" {
		p.Name = prefix.String()
	}
	if err := checkName(p.Name); err != nil {
		return Pool{}, err
	}
	if err := p.setGateway(spec.Gateway); err != nil {
		return Pool{}, fmt.Errorf("gateway %w", err)
	}
	if err := p.reserve(spec.Reserved); err != nil {
		return Pool{}, fmt.Errorf("reserved %w", err)
	}
	return p, nil
}

// special are the ranges whose addresses cannot be routed to a pod.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/127"), netip.MustParsePrefix("::ffff:0:0/96"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

func checkUse(prefix netip.Prefix) error {
	for _, s := range special {
		if prefix.Overlaps(s) {
			return fmt.Errorf("cidr %q overlaps %s, whose addresses no pod can have: use global unicast or private addresses", prefix, s)
		}
	}
	return nil
}

const maxName = 63

// checkName keeps names to what is safe in a log, a metric's label and a configuration file.
func checkName(name string) error {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._:/", r)
	}
	if len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !safe(r) }) {
		return fmt.Errorf("name %.100q: use at most %d of the letters a-z and A-Z, digits and - . _ : /", name, maxName)
	}
	return nil
}

const maxAllocator = 40

// checkAllocator keeps the name to what is safe in that of an executable.
func checkAllocator(name string) error {
	safe := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }
	if len(name) > maxAllocator || strings.Trim(name, "-") != name || strings.ContainsFunc(name, func(r rune) bool { return !safe(r) }) {
		return fmt.Errorf("allocator %.100q: write %s, %s, or an extension's name: at most %d of a-z, 0-9 and -", name, Random, Sequential, maxAllocator)
	}
	return nil
}

// ends returns the ranges at the pool's edges that no host can have; none in a pool of two addresses or one.
func (p Pool) ends() []Range {
	if p.Prefix.Addr().BitLen()-p.Prefix.Bits() < 2 {
		return nil
	}
	ends := []Range{{p.Prefix.Addr(), p.Prefix.Addr()}}
	if last := Last(p.Prefix); p.Family() == IPv4 {
		ends = append(ends, Range{last, last})
	}
	return ends
}

func (p *Pool) setGateway(text string) error {
	p.Aside = p.ends()
	if text == "" {
		if len(p.Aside) == 0 {
			return nil
		}
		text = p.Prefix.Addr().Next().String()
	}
	gateway, err := ParseAddr(text)
	switch {
	case err != nil:
		return err
	case !p.Contains(gateway):
		return fmt.Errorf("%s is outside %s: use an address of the pool", gateway, p.Prefix)
	case p.SetAside(gateway):
		return fmt.Errorf("%s is the network or broadcast address of %s: use another", gateway, p.Prefix)
	}
	p.Gateway = gateway
	p.Aside = append(p.Aside, Range{gateway, gateway})
	return nil
}

func (p *Pool) reserve(texts []string) error {
	for _, text := range texts {
		r, err := parseRange(text)
		if err != nil {
			return err
		}
		if !p.Contains(r.First) || !p.Contains(r.Last) {
			return fmt.Errorf("%q is outside %s: correct or remove it", text, p.Prefix)
		}
		p.Aside = append(p.Aside, r)
	}
	p.Aside = merge(p.Aside)
	return nil
}

// parseRange reads an address, a CIDR, or "first-last".
func parseRange(text string) (Range, error) {
	if strings.Contains(text, "/") {
		prefix, err := ParsePrefix(text)
		if err != nil {
			return Range{}, err
		}
		return Range{prefix.Addr(), Last(prefix)}, nil
	}
	from, to, isRange := strings.Cut(text, "-")
	first, err := ParseAddr(from)
	if err != nil || !isRange {
		return Range{first, first}, err
	}
	last, err := ParseAddr(to)
	if err != nil {
		return Range{}, err
	}
	if last.Less(first) || first.BitLen() != last.BitLen() {
		return Range{}, fmt.Errorf("%.100q does not rise: write the lower address first, both of one family", text)
	}
	return Range{first, last}, nil
}

// merge sorts ranges and joins those that touch.
func merge(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return a.First.Compare(b.First) })
	var merged []Range
	for _, r := range ranges {
		if n := len(merged); n > 0 && !merged[n-1].Last.Next().Less(r.First) {
			if merged[n-1].Last.Less(r.Last) {
				merged[n-1].Last = r.Last
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// checkDistinct refuses two pools of one name, and two that share an address.
func checkDistinct(pools []Pool) error {
	names := map[string]bool{}
	for _, p := range pools {
		if names[p.Name] {
			return fmt.Errorf("parse pool %q: the name is used twice: give each pool its own", p.Name)
		}
		names[p.Name] = true
	}
	// Prefixes overlap only by one holding the other, and then two neighbours in this order do.
	sorted := slices.Clone(pools)
	slices.SortFunc(sorted, func(a, b Pool) int { return a.Prefix.Compare(b.Prefix) })
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a.Prefix.Overlaps(b.Prefix) {
			return fmt.Errorf("parse pool %q: its %s overlaps %s of pool %q: make them disjoint or remove one",
				b.Name, b.Prefix, a.Prefix, a.Name)
		}
	}
	return nil
}
