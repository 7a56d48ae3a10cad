// SPDX-License-Identifier: Apache-2.0

// Package speaker is the contract between birdd and the BGP speaker of a node. BIRD is the speaker that birdd has built
// in; every other is a program of its own, called speaker- and its name, that birdd reaches over hashicorp/go-plugin.
// package speakertest tells whether a speaker keeps the contract.
//
// The kernel is the interface for routes: a speaker announces the routes of the announcement table, as they come and go,
// and installs in the main table what its peers announce. What passes between birdd and the speaker is configuration
// and status alone, so that a speaker whose birdd is away goes on as it is.
package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Speaker holds a node's BGP sessions.
type Speaker interface {
	// Configure has the speaker go by the config from now on, in place of the one before: sessions with its peers and
	// with nobody else. A session whose peer is configured as before stays up. birdd calls again with the same
	// config after a restart of either side, and every few seconds: that changes nothing, and tells whether the
	// speaker still goes by it. A config that the speaker cannot go by is a [*RefusedError] and changes nothing.
	Configure(context.Context, Config) error
	// Status returns how the sessions are, and which of the prefixes, that birdd announces, were sent over them.
	Status(ctx context.Context, announced []netip.Prefix) (Status, error)
	// Stop ends all sessions and returns when they have ended. The speaker is not used afterwards.
	Stop(context.Context, StopMode) error
}

// StopMode is how sessions end.
type StopMode int

const (
	// StopGraceful ends sessions as for a restart (RFC 4724): routers that support it keep the node's routes, and the
	// kernel keeps those that routers brought, until the speaker that is started next has spoken to them.
	StopGraceful StopMode = iota
	// StopNow withdraws what was announced, and removes what was installed.
	StopNow
)

// Config is the node's side of its sessions, as its NodeConfig says. Everything in it has been checked.
type Config struct {
	// Node is the node's name.
	Node string
	// Table is the number of the kernel's table that holds what to announce, as routes of protocol 73: a blackhole for
	// each pool, a device route for each single address.
	Table uint32
	// LocalASN is 0 where the node has no BGP; then there are no peers.
	LocalASN uint32
	RouterID netip.Addr
	// Summaries may be announced whole, and ExportAccept says inside which prefixes single addresses may be. Nothing
	// else is announced, whatever the table holds.
	Summaries, ExportAccept []netip.Prefix
	// Own are the addresses of the node's links. A prefix that holds one of them, or the address of a peer that is on a
	// link, is never taken from a peer, the default route apart.
	Own []netip.Addr
	// Peers are in the order of their names.
	Peers []Peer
}

// Peer is one BGP session, or, where it is unnumbered, whoever speaks BGP on an interface.
type Peer struct {
	// Name is unique: at most 40 of a-z, 0-9 and -.
	Name string
	// Address is zero for an unnumbered peer, which has an Interface. A link-local address has one too.
	Address   netip.Addr
	Interface string
	// LocalAddress is the node's end of the session; zero leaves the choice to the kernel. It, or the address
	// chosen, is the next hop of all that is announced, in its family.
	LocalAddress netip.Addr
	// ASN is the peer's; the local one makes the session internal.
	ASN uint32
	// IPv4 and IPv6 tell which families the session carries. IPv4 over an IPv6 session has an IPv6 next hop (RFC 8950).
	IPv4, IPv6 bool
	// Password is that of TCP MD5 (RFC 2385), empty for none. A peer whose password cannot be read is not configured.
	Password Password
	// BFD watches the path to the peer.
	BFD BFD
	// HoldTime and KeepaliveTime are whole seconds.
	HoldTime, KeepaliveTime time.Duration
	// GracefulRestart keeps the peer's routes while it restarts, and asks it for the same.
	GracefulRestart bool
	// Multihop is how many hops the peer may be away, 0 for a peer on a link of the node.
	Multihop int
	// Communities, LargeCommunities, LocalPref and MED are added to what is announced, the latter two unless nil.
	Communities      [][2]uint16
	LargeCommunities [][3]uint32
	LocalPref, MED   *uint32
	// ImportAccept is what is taken from the peer; nothing where it is empty. MaxPrefixes bounds it in each family: what
	// exceeds it is ignored, and the session stays up.
	ImportAccept []PrefixMatch
	MaxPrefixes  int
}

// Unnumbered tells whether the peer is whoever speaks BGP on the interface.
func (p Peer) Unnumbered() bool { return !p.Address.IsValid() }

// BFD is what a failed path does to a session.
type BFD int

// The values of [BFD].
const (
	BFDOff       BFD = iota
	BFDImmediate     // drops the peer's routes
	BFDGraceful      // keeps them for as long as a restart may take
)

// PrefixMatch stands for the prefixes inside Prefix that are at most MaxLength bits long.
type PrefixMatch struct {
	Prefix    netip.Prefix
	MaxLength int
}

// Status is how a speaker is.
type Status struct {
	// Version is the speaker's name and version: "BIRD 2.0.12".
	Version  string
	RouterID netip.Addr
	// Sessions are ordered by peer. A configured peer without one is missing.
	Sessions []Session
	// Sent tells over which sessions, by their names, each of the prefixes asked for was sent.
	Sent map[netip.Prefix][]string
}

// Session is one BGP session of a peer. An unnumbered peer has one for each router on its link.
type Session struct {
	Peer string
	// Name is the session's own, in the speaker's terms.
	Name string
	// Address of the router, zero while nobody has spoken on the link of an unnumbered peer.
	Address netip.Addr
	ASN     uint32
	State   State
	// Since is when it came into the state, zero where that is not known.
	Since     time.Time
	LastError string
	// Families are those that the session carries.
	Families []Family
}

// State is a state of BGP's finite state machine (RFC 4271, section 8.2.2).
type State string

// The states.
const (
	Idle        State = "Idle"
	Connect     State = "Connect"
	Active      State = "Active"
	OpenSent    State = "OpenSent"
	OpenConfirm State = "OpenConfirm"
	Established State = "Established"
)

// Family is the part of a session that one address family has.
type Family struct {
	// Name is "ipv4" or "ipv6".
	Name string
	// Received counts the prefixes that were taken, Exported those that were sent.
	Received, Exported int
}

// RefusedError tells that a speaker cannot go by a config, whoever asks how often: what is wrong, and in which field.
type RefusedError struct {
	// Field is where it is in the NodeConfig's spec, such as bgp.peers[tor-a].bfd.
	Field, Reason string
}

// Error returns both.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("refuse the configuration: %s: %s", e.Field, e.Reason)
}
