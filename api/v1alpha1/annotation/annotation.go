// SPDX-License-Identifier: Apache-2.0

// Package annotation names the annotations by which a pod says which addresses it wants, and reads
// them strictly: what cannot be honoured is an error that quotes key and value, never ignored.
package annotation

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/internal/pool"
)

// Prefix is the prefix of every annotation of flock.
const Prefix = "flock.fritzlab.net/"

// The annotations of a pod.
const (
	// IPv6 and IPv4 say whether the pod gets an address of the family: "true" or "false".
	IPv6 = Prefix + "ipv6"
	IPv4 = Prefix + "ipv4"
	// CIDR6 and CIDR4 name a CIDR, inside one of the node's pools, to allocate from.
	CIDR6 = Prefix + "cidr6"
	CIDR4 = Prefix + "cidr4"
	// IPAlgo lists the identity fields whose hashes the IPv6 address shows, see [Field].
	IPAlgo = Prefix + "ip-algo"
	// Addresses lists the addresses that the pod gets, instead of allocation in their families.
	Addresses = Prefix + "addresses"
	// Anycast lists addresses that the pod has on its loopback and shares with other pods.
	Anycast = Prefix + "anycast"
)

// Keys are the annotations of a pod.
var Keys = []string{IPv6, IPv4, CIDR6, CIDR4, IPAlgo, Addresses, Anycast}

// Field is an identity field that ip-algo embeds.
type Field string

// The identity fields.
const (
	Namespace Field = "namespace"
	Pod       Field = "pod"
	Image     Field = "image"
)

// Request is what a pod asks for by its annotations; its zero value asks for nothing.
type Request struct {
	// IPv6 and IPv4 are nil where the pod does not say.
	IPv6, IPv4 *bool
	// CIDR6 and CIDR4 are invalid where the pod does not say.
	CIDR6, CIDR4 netip.Prefix
	IPAlgo       []Field
	Addresses    []netip.Addr
	Anycast      []netip.Addr
}

// Defaults are what the node gives to pods that do not say. Nil is left to what is built in: every
// family that the node has a pool for, and random addresses.
type Defaults struct {
	IPv6, IPv4 *bool
	IPAlgo     []Field
}

// Merge returns the request with what the pod left unsaid taken from the defaults. A pod that names a
// CIDR or an address of a family asks for that family.
func (r Request) Merge(d Defaults) Request {
	r.IPv6 = firstSaid(r.IPv6, r.asks(pool.IPv6), d.IPv6)
	r.IPv4 = firstSaid(r.IPv4, r.asks(pool.IPv4), d.IPv4)
	if r.IPAlgo == nil {
		r.IPAlgo = d.IPAlgo
	}
	return r
}

func firstSaid(choices ...*bool) *bool {
	for _, c := range choices {
		if c != nil {
			return c
		}
	}
	return nil
}

// asks returns true when the pod names a CIDR or an address of the family, and nil when it does not.
func (r Request) asks(f pool.Family) *bool {
	if r.CIDR(f).IsValid() || len(r.Fixed(f)) > 0 {
		return new(true)
	}
	return nil
}

// Wants returns whether the family is asked for, and nil where that is not said.
func (r Request) Wants(f pool.Family) *bool {
	if f == pool.IPv6 {
		return r.IPv6
	}
	return r.IPv4
}

// CIDR returns the CIDR that the family's address is to come from, invalid where that is not said.
func (r Request) CIDR(f pool.Family) netip.Prefix {
	if f == pool.IPv6 {
		return r.CIDR6
	}
	return r.CIDR4
}

// Fixed returns the fixed addresses of the family.
func (r Request) Fixed(f pool.Family) []netip.Addr { return ofFamily(r.Addresses, f) }

func ofFamily(addrs []netip.Addr, f pool.Family) []netip.Addr {
	var some []netip.Addr
	for _, a := range addrs {
		if pool.FamilyOf(a) == f {
			some = append(some, a)
		}
	}
	return some
}

// FamilyKey returns the annotation that switches the family on or off.
func FamilyKey(f pool.Family) string {
	if f == pool.IPv6 {
		return IPv6
	}
	return IPv4
}

// CIDRKey returns the annotation that names the family's CIDR.
func CIDRKey(f pool.Family) string {
	if f == pool.IPv6 {
		return CIDR6
	}
	return CIDR4
}

// Error tells which annotation cannot be honoured, and why.
type Error struct {
	Key, Value string
	Err        error
}

// Error quotes key and value; a long value is cut.
func (e *Error) Error() string {
	return fmt.Sprintf("read annotation %.100q with value %.200q: %v", e.Key, e.Value, e.Err)
}

// Unwrap returns what is wrong with the value.
func (e *Error) Unwrap() error { return e.Err }

// nearest returns the known keys that a misspelt one probably means, all of them if none is near.
func nearest(key string) []string {
	near := slices.DeleteFunc(slices.Clone(Keys), func(k string) bool {
		return distance(strings.TrimPrefix(key, Prefix), strings.TrimPrefix(k, Prefix)) > 2
	})
	if len(near) == 0 {
		return Keys
	}
	return near
}

// distance returns how many letters must be added, removed or changed to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
