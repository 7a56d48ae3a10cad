// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"flock.fritzlab.net/flock/internal/pool"
)

// Config is a NodeConfig that was defaulted, checked and parsed by [NodeConfig.Parse].
//
// +kubebuilder:object:generate=false
type Config struct {
	// Name is the node's.
	Name  string
	Pools []pool.Pool
	// Summaries are the pools that are announced whole, in their order.
	Summaries []netip.Prefix
	Defaults  ConfigDefaults
	// MTU in bytes, 0 for that of the default-route link.
	MTU          int
	SummaryRoute SummaryRoute
	// BGP is nil when nothing is announced.
	BGP *BGPConfig
}

// ConfigDefaults is what pods get that do not ask.
//
// +kubebuilder:object:generate=false
type ConfigDefaults struct {
	// IPv6 and IPv4 are nil when it depends on whether there is a pool.
	IPv6, IPv4 *bool
	IPAlgo     []IPAlgoField
	CoolDown   time.Duration
}

// BGPConfig is the node's side of its sessions.
//
// +kubebuilder:object:generate=false
type BGPConfig struct {
	// Speaker is [SpeakerBIRD] or an extension's name.
	Speaker  string
	LocalASN uint32
	RouterID netip.Addr
	// ExportAccept holds both default routes where every single address may be announced, and the pools whose addresses are
	// announced one by one.
	ExportAccept []netip.Prefix
	// Peers are in the order of the NodeConfig.
	Peers []PeerConfig
}

// PeerConfig is one session.
//
// +kubebuilder:object:generate=false
type PeerConfig struct {
	Name string
	// Address is zero for an unnumbered peer, which has an Interface.
	Address   netip.Addr
	Interface string
	// LocalAddress is zero when the kernel is to choose.
	LocalAddress netip.Addr
	ASN          uint32
	IPv4, IPv6   bool
	// Password is nil for a session without one.
	Password                *SecretKeyRef
	BFD                     BFDMode
	HoldTime, KeepaliveTime time.Duration
	GracefulRestart         bool
	// Multihop is 0 for a peer on a link of the node.
	Multihop         int
	Communities      []Community
	LargeCommunities []LargeCommunity
	// LocalPref and MED are nil when they are not to be set.
	LocalPref, MED *uint32
	ImportAccept   []PrefixMatch
	MaxPrefixes    int
}

// Unnumbered tells whether the peer is whoever speaks BGP on the interface.
func (p PeerConfig) Unnumbered() bool { return !p.Address.IsValid() }

// Community is a BGP community (RFC 1997).
//
// +kubebuilder:object:generate=false
type Community [2]uint16

// LargeCommunity is a BGP large community (RFC 8092).
//
// +kubebuilder:object:generate=false
type LargeCommunity [3]uint32

// PrefixMatch stands for the prefixes inside Prefix that are at most MaxLength bits long.
//
// +kubebuilder:object:generate=false
type PrefixMatch struct {
	Prefix    netip.Prefix
	MaxLength int
}

// The prefixes keep protocol names apart from BIRD's keywords and from flock's other symbols.
const (
	protocolPrefix = "peer_"
	dynamicPrefix  = "dyn_"
)

// ProtocolName returns what the peer's protocol is called in BIRD, where a name may hold no "-"; a
// peer's name holds no "_", so that no two peers share one.
func ProtocolName(peer string) string {
	return protocolPrefix + strings.ReplaceAll(peer, "-", "_")
}

// DynamicName returns how the names begin that BIRD gives to the sessions of an unnumbered peer; a
// number follows.
func DynamicName(peer string) string {
	return dynamicPrefix + strings.ReplaceAll(peer, "-", "_") + "_"
}

// PeerName returns the name of the peer that a protocol of BIRD belongs to, and whether it belongs to
// one: it is called as [ProtocolName] or [DynamicName] say.
func PeerName(protocol string) (string, bool) {
	name, ok := strings.CutPrefix(protocol, protocolPrefix)
	if dynamic, isDynamic := strings.CutPrefix(protocol, dynamicPrefix); isDynamic {
		end := strings.LastIndexByte(dynamic, '_')
		name, ok = dynamic[:max(end, 0)], end > 0
	}
	return strings.ReplaceAll(name, "_", "-"), ok && name != ""
}

// String returns "65000:100".
func (c Community) String() string { return fmt.Sprintf("%d:%d", c[0], c[1]) }

// String returns "65000:1:100".
func (c LargeCommunity) String() string { return fmt.Sprintf("%d:%d:%d", c[0], c[1], c[2]) }
