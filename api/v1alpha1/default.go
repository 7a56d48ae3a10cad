// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What unset fields mean.
const (
	DefaultCoolDown    = 120 * time.Second
	DefaultHoldTime    = 90 * time.Second
	DefaultMaxPrefixes = 1000
	DefaultSecretKey   = "password"

	// SpeakerBIRD is the speaker that birdd has built in.
	SpeakerBIRD = "bird"
)

// Default fills the fields that are unset and whose default does not depend on the node's state. It
// replaces what it fills and changes nothing that the NodeConfig points to.
func (c *NodeConfig) Default() {
	if c.Spec.SummaryRoute == "" {
		c.Spec.SummaryRoute = SummaryBlackhole
	}
	if c.Spec.Defaults.CoolDown == nil {
		c.Spec.Defaults.CoolDown = &metav1.Duration{Duration: DefaultCoolDown}
	}
	c.Spec.Pools = slices.Clone(c.Spec.Pools)
	for i := range c.Spec.Pools {
		c.Spec.Pools[i].Announce = cmp.Or(c.Spec.Pools[i].Announce, AnnounceSummary)
	}
	if c.Spec.BGP == nil {
		return
	}
	bgp := *c.Spec.BGP
	bgp.Speaker = cmp.Or(bgp.Speaker, SpeakerBIRD)
	if bgp.RouterID == "" {
		bgp.RouterID = RouterID(c.Name).String()
	}
	bgp.Peers = slices.Clone(bgp.Peers)
	for i := range bgp.Peers {
		bgp.Peers[i].setDefaults()
	}
	c.Spec.BGP = &bgp
}

// RouterID returns the BGP identifier of a node that is given none: a hash of its name, in the range
// of IPv4 unicast addresses because older routers insist on that.
func RouterID(name string) netip.Addr {
	hash := fnv.New32a()
	hash.Write([]byte(name))
	id := [4]byte(hash.Sum(nil))
	id[0] = 1 + id[0]%126
	return netip.AddrFrom4(id)
}

func (p *Peer) setDefaults() {
	if p.Families == nil {
		p.Families = p.defaultFamilies()
	}
	if ref := p.PasswordSecretRef; ref != nil && ref.Key == "" {
		p.PasswordSecretRef = &SecretKeyRef{Name: ref.Name, Key: DefaultSecretKey}
	}
	if p.HoldTime == nil {
		p.HoldTime = &metav1.Duration{Duration: DefaultHoldTime}
	}
	if p.KeepaliveTime == nil {
		third := (p.HoldTime.Duration / 3).Truncate(time.Second)
		p.KeepaliveTime = &metav1.Duration{Duration: third}
	}
	if p.GracefulRestart == nil {
		on := p.BFD != BFDImmediate
		p.GracefulRestart = &on
	}
	if p.ImportAccept == nil {
		p.ImportAccept = []PrefixRange{{CIDR: "::/0"}, {CIDR: "0.0.0.0/0"}}
	}
	if p.MaxPrefixes == 0 {
		p.MaxPrefixes = DefaultMaxPrefixes
	}
}

// defaultFamilies returns nil for an address that does not parse; Parse refuses that one.
func (p *Peer) defaultFamilies() []Family {
	if p.Address == "" {
		return []Family{FamilyIPv4, FamilyIPv6}
	}
	addr, err := netip.ParseAddr(p.Address)
	switch {
	case err != nil:
		return nil
	case addr.Is4():
		return []Family{FamilyIPv4}
	}
	return []Family{FamilyIPv6}
}
