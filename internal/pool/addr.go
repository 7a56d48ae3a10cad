// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
)

// Family is an address family; its value is the IP version.
type Family uint8

// The two address families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of a valid address.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// String returns "IPv4" or "IPv6".
func (f Family) String() string { return fmt.Sprintf("IPv%d", uint8(f)) }

// ParseAddr reads an address as [netip.ParseAddr] does, and refuses what has two ways of being written:
// zone ids and IPv4-mapped IPv6.
func ParseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Errorf("%.100q is no address: write one such as 2001:db8::10 or 192.0.2.10", s)
	case addr.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%.100q has a zone: write %s", s, addr.WithZone(""))
	case addr.Is4In6():
		return netip.Addr{}, fmt.Errorf("%q is IPv4-mapped IPv6: write %s", s, addr.Unmap())
	}
	return addr, nil
}

// ParsePrefix reads a CIDR and refuses host bits, zone ids and IPv4-mapped IPv6.
func ParsePrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%.100q is no CIDR: write one such as 2001:db8::/64 or 192.0.2.0/24", s)
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is IPv4-mapped IPv6: write it as IPv4", s)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has host bits set: write %s", s, prefix.Masked())
	}
	return prefix, nil
}

// CheckUnicast returns an error that says which special use an address has that no pod can have: only
// global unicast addresses, private ones among them, can be routed to a pod.
func CheckUnicast(a netip.Addr) error {
	switch {
	case a.IsGlobalUnicast():
		return nil
	case a.IsUnspecified():
		return errors.New("is the unspecified address")
	case a.IsLoopback():
		return errors.New("is a loopback address")
	case a.IsMulticast():
		return errors.New("is a multicast address")
	case a.IsLinkLocalUnicast():
		return errors.New("is a link-local address")
	}
	return errors.New("is the broadcast address")
}

// Last returns the highest address of a prefix.
func Last(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(raw)*8; i++ {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// count returns how many addresses there are from first to last, both included, or the highest uint64
// where there are more.
func count(first, last netip.Addr) uint64 {
	a, b := first.As16(), last.As16()
	lo, borrow := bits.Sub64(binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(a[8:]), 0)
	hi, _ := bits.Sub64(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(a[:8]), borrow)
	if hi != 0 {
		return math.MaxUint64
	}
	return addSaturating(lo, 1)
}

func addSaturating(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}
