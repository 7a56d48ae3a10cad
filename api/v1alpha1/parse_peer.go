// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"flock.fritzlab.net/flock/internal/pool"
)

// peer parses one defaulted peer.
func (p *parser) peer(path *field.Path, b *BGP, in *Peer) PeerConfig {
	if !peerNames.MatchString(in.Name) {
		p.invalid(path.Child("name"), in.Name, "use at most 40 of a-z, 0-9 and -, a letter or digit first and last")
	}
	p.secretRef(path.Child("passwordSecretRef"), in.PasswordSecretRef)
	out := PeerConfig{
		Name: in.Name, Interface: in.Interface, Password: in.PasswordSecretRef,
		ASN: p.asn(path.Child("peerASN"), in.PeerASN), GracefulRestart: *in.GracefulRestart,
		Multihop: int(in.Multihop), MaxPrefixes: int(in.MaxPrefixes), BFD: in.BFD,
		HoldTime: p.seconds(path.Child("holdTime"), in.HoldTime, 3*time.Second, math.MaxUint16*time.Second,
			"use whole seconds from 3s to 65535s"),
		KeepaliveTime: p.seconds(path.Child("keepaliveTime"), in.KeepaliveTime, time.Second, in.HoldTime.Duration/3,
			"use whole seconds from 1s to a third of holdTime, or remove it"),
		LocalPref: p.optionalUint32(path.Child("localPref"), in.LocalPref),
		MED:       p.optionalUint32(path.Child("med"), in.MED),
	}
	p.peerEnds(path, in, &out)
	p.peerFamilies(path.Child("families"), in, &out)
	p.peerModes(path, b, in)
	p.communities(path.Child("communities"), in.Communities, &out)
	for i, r := range in.ImportAccept {
		out.ImportAccept = append(out.ImportAccept, p.prefixRange(path.Child("importAccept").Index(i), r))
	}
	return out
}

// peerEnds parses who the peer is and where.
func (p *parser) peerEnds(path *field.Path, in *Peer, out *PeerConfig) {
	if in.Interface != "" && !interfaceNames.MatchString(in.Interface) {
		p.invalid(path.Child("interface"), in.Interface, "write an interface's name: letters, digits, - _ and . , at most 15")
	}
	if in.Address == "" {
		p.unnumbered(path, in)
		return
	}
	out.Address = p.address(path.Child("address"), in.Address)
	switch link := out.Address.Is6() && out.Address.IsLinkLocalUnicast(); {
	case link && in.Interface == "":
		p.required(path.Child("interface"), "a link-local address needs the interface that it is on")
	case link && (in.Multihop != 0 || in.LocalAddress != ""):
		p.invalid(path.Child("address"), in.Address, "is link-local: remove multihop and localAddress, or use a global address")
	}
	if in.LocalAddress != "" {
		out.LocalAddress = p.address(path.Child("localAddress"), in.LocalAddress)
		if out.LocalAddress.IsValid() && out.Address.IsValid() && out.LocalAddress.Is4() != out.Address.Is4() {
			p.invalid(path.Child("localAddress"), in.LocalAddress, "use an address of the family of the peer's")
		}
	}
}

func (p *parser) unnumbered(path *field.Path, in *Peer) {
	if in.Interface == "" {
		p.required(path.Child("address"), "write the peer's address, or for an unnumbered session its interface")
	}
	if in.LocalAddress != "" || in.Multihop != 0 {
		p.invalid(path.Child("interface"), in.Interface, "makes the session unnumbered: remove localAddress and multihop, or add the peer's address")
	}
}

// address parses an end of a session: unicast, link-local included.
func (p *parser) address(path *field.Path, text string) netip.Addr {
	addr, err := pool.ParseAddr(text)
	if err != nil {
		p.invalid(path, text, err.Error())
		return netip.Addr{}
	}
	if err := pool.CheckUnicast(addr); err != nil && !addr.IsLinkLocalUnicast() {
		p.invalid(path, text, err.Error()+": write the router's own address")
	}
	return addr
}

func (p *parser) peerFamilies(path *field.Path, in *Peer, out *PeerConfig) {
	if len(in.Families) == 0 && (out.Address.IsValid() || out.Unnumbered() && in.Address == "") {
		p.required(path, "name a family, or remove the field")
	}
	for i, f := range in.Families {
		switch {
		case f == FamilyIPv4 && !out.IPv4:
			out.IPv4 = true
		case f == FamilyIPv6 && !out.IPv6:
			out.IPv6 = true
		case f == FamilyIPv4 || f == FamilyIPv6:
			p.errs = append(p.errs, field.Duplicate(path.Index(i), f))
		default:
			p.errs = append(p.errs, field.NotSupported(path.Index(i), f, []Family{FamilyIPv4, FamilyIPv6}))
		}
	}
	if out.IPv6 && out.Address.Is4() {
		p.invalid(path, in.Families, "an IPv4 session carries IPv4 alone: use the peer's IPv6 address, which carries both")
	}
}

// peerModes checks what must fit together.
func (p *parser) peerModes(path *field.Path, b *BGP, in *Peer) {
	switch {
	case in.BFD != "" && in.BFD != BFDImmediate && in.BFD != BFDGraceful:
		p.errs = append(p.errs, field.NotSupported(path.Child("bfd"), in.BFD, []BFDMode{BFDImmediate, BFDGraceful}))
	case in.BFD == BFDImmediate && *in.GracefulRestart:
		p.invalid(path.Child("bfd"), in.BFD, "contradicts gracefulRestart: use bfd: graceful, or gracefulRestart: false")
	case in.BFD != "" && in.Multihop != 0 && in.LocalAddress == "":
		p.required(path.Child("localAddress"), "BFD over several hops needs it")
	}
	if in.Multihop != 0 && (in.Multihop < 2 || in.Multihop > 255) {
		p.invalid(path.Child("multihop"), in.Multihop, "use 2 to 255, or remove it for a peer on a link of the node")
	}
	if in.Multihop != 0 && in.Interface != "" {
		p.invalid(path.Child("interface"), in.Interface, "a multihop peer is on no link: remove interface or multihop")
	}
	if in.LocalPref != nil && in.PeerASN != b.LocalASN {
		p.invalid(path.Child("localPref"), *in.LocalPref, "goes to internal peers only: remove it, or use med or communities")
	}
	if in.MaxPrefixes < 1 || in.MaxPrefixes > 2_000_000 {
		p.invalid(path.Child("maxPrefixes"), in.MaxPrefixes, "use 1 to 2000000, or remove it")
	}
}

func (p *parser) optionalUint32(path *field.Path, n *int64) *uint32 {
	if n == nil {
		return nil
	}
	if *n < 0 || *n > math.MaxUint32 {
		p.invalid(path, *n, "use 0 to 4294967295, or remove it")
	}
	out := uint32(*n)
	return &out
}

func (p *parser) communities(path *field.Path, texts []string, out *PeerConfig) {
	for i, text := range texts {
		parts := strings.Split(text, ":")
		switch n, ok := numbers(parts); {
		case ok && len(n) == 2 && n[0] <= math.MaxUint16 && n[1] <= math.MaxUint16:
			out.Communities = append(out.Communities, Community{uint16(n[0]), uint16(n[1])})
		case ok && len(n) == 3:
			out.LargeCommunities = append(out.LargeCommunities, LargeCommunity{n[0], n[1], n[2]})
		default:
			p.invalid(path.Index(i), text, "write a community such as 65000:100, both parts at most 65535, or a large one such as 4200000000:1:100")
		}
	}
}

func numbers(texts []string) ([]uint32, bool) {
	var all []uint32
	for _, text := range texts {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, false
		}
		all = append(all, uint32(n))
	}
	return all, true
}

func (p *parser) prefixRange(path *field.Path, r PrefixRange) PrefixMatch {
	prefix, err := pool.ParsePrefix(r.CIDR)
	if err != nil {
		p.invalid(path.Child("cidr"), r.CIDR, err.Error())
		return PrefixMatch{}
	}
	match := PrefixMatch{Prefix: prefix, MaxLength: prefix.Bits()}
	if r.MaxLength != 0 {
		match.MaxLength = int(r.MaxLength)
	}
	if match.MaxLength < prefix.Bits() || match.MaxLength > prefix.Addr().BitLen() {
		p.invalid(path.Child("maxLength"), r.MaxLength, "use the CIDR's own length to that of an address, or remove it")
	}
	return match
}
