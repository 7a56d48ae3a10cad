// SPDX-License-Identifier: Apache-2.0

// Package ipalgo embeds hashes of a workload's identity in its IPv6 address, so that an operator can
// read one off the other. The layout is an interface, documented in docs/ip-algo.md.
package ipalgo

import (
	"hash/fnv"
	"net/netip"
)

const (
	// randomNibbles are left at the end of every address, so that equal identities get different ones.
	randomNibbles = 4
	// hashNibbles are in one FNV-1a-64 hash.
	hashNibbles = 16
)

// Shares returns how many nibbles of a host part each of the fields gets, in their order, when a prefix
// of the given length leaves the rest to them.
func Shares(prefixLen, fields int) []int {
	left := max((128-prefixLen)/4-randomNibbles, 0)
	shares := make([]int, fields)
	for i := range shares {
		// The first fields take what does not divide evenly.
		shares[i] = min((left+fields-i-1)/(fields-i), hashNibbles)
		left -= shares[i]
	}
	return shares
}

// Narrow returns the part of an IPv6 prefix in which every address shows the identity: the prefix, then
// for each value the leading nibbles of its hash. The bits that are left are free. Where the prefix does
// not end at a nibble, the bits up to the next one are zero.
func Narrow(prefix netip.Prefix, values []string) netip.Prefix {
	raw := prefix.Masked().Addr().As16()
	at := (prefix.Bits() + 3) / 4
	for i, share := range Shares(prefix.Bits(), len(values)) {
		hash := Hash(values[i])
		for n := range share {
			setNibble(&raw, at, byte(hash>>(60-4*n))&0xf)
			at++
		}
	}
	if at == (prefix.Bits()+3)/4 {
		return prefix // nothing embedded
	}
	return netip.PrefixFrom(netip.AddrFrom16(raw), at*4)
}

// Hash returns the FNV-1a-64 hash of an identity field.
func Hash(value string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(value))
	return h.Sum64()
}

func setNibble(raw *[16]byte, at int, nibble byte) {
	if at%2 == 0 {
		nibble <<= 4
	}
	raw[at/2] |= nibble
}
