// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGP is the node's side of its BGP sessions.
//
// +kubebuilder:validation:XValidation:rule="!has(self.peers) || self.peers.all(p, !has(p.localPref) || p.peerASN == self.localASN)",message="localPref goes to internal peers only: remove it, or use med or communities",fieldPath=".peers"
type BGP struct {
	// Speaker holds the sessions: bird, or the name of an extension such as gobgp.
	// +optional
	// +kubebuilder:default=bird
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="write bird, or an extension's name: at most 40 of a-z, 0-9 and -"
	Speaker string `json:"speaker,omitempty"`
	// LocalASN is the node's AS number.
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 4294967294 && self != 23456 && self != 65535",message="is no usable AS number: use 1 to 4294967294 but for 23456 and 65535; 64512 to 65534 are private"
	LocalASN int64 `json:"localASN"`
	// RouterID is the node's BGP identifier in the form of an IPv4 address. Unset: a hash of the
	// NodeConfig's name, so that it never changes with the node's addresses.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self) && ip(self).family() == 4 && !ip(self).isUnspecified() && !cidr('224.0.0.0/4').containsIP(self) && self != '255.255.255.255'",message="write it as an IPv4 unicast address such as 192.0.2.1, or remove it"
	RouterID string `json:"routerID,omitempty"`
	// ExportAccept are the CIDRs inside which a pod's own address (fixed or anycast) may be announced;
	// the pools always are. Unset: every address. An empty list: none.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="write a CIDR such as 2001:db8:1::/64 or 192.0.2.0/24"
	// +kubebuilder:validation:items:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="has host bits set: write the network's own address, as in 192.0.2.0/24 for 192.0.2.1/24"
	ExportAccept []string `json:"exportAccept,omitzero"`
	// Peers are the routers that the node announces to.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.all(b, a.name == b.name || !(has(a.address) ? has(b.address) && isIP(a.address) && isIP(b.address) && ip(a.address) == ip(b.address) && (!ip(a.address).isLinkLocalUnicast() || has(a.interface) == has(b.interface) && (!has(a.interface) || a.interface == b.interface)) : !has(b.address) && has(a.interface) && has(b.interface) && a.interface == b.interface)))",message="two peers have one address, or one interface: keep one of them"
	// +kubebuilder:validation:XValidation:rule="self.all(a, !has(a.passwordSecretRef) || self.all(b, a.name == b.name || !(has(a.address) ? has(b.address) && isIP(a.address) && isIP(b.address) && ip(a.address) == ip(b.address) : !has(b.address))))",message="several peers are unnumbered or have one link-local address, and the kernel could not tell their passwords apart: give each peer an address of its own, or remove the passwords"
	Peers []Peer `json:"peers,omitempty"`
}

// Peer is one BGP session. It has an address, or, if it is unnumbered, an interface; a link-local
// address needs both.
//
// +kubebuilder:validation:XValidation:rule="has(self.address) || has(self.interface)",message="write the peer's address, or for an unnumbered session its interface",fieldPath=".address",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="has(self.address) || !has(self.interface) || !has(self.localAddress) && !has(self.multihop)",message="makes the session unnumbered: remove localAddress and multihop, or add the peer's address",fieldPath=".interface"
// +kubebuilder:validation:XValidation:rule="!has(self.address) || !isIP(self.address) || !cidr('fe80::/10').containsIP(self.address) || has(self.interface)",message="a link-local address needs the interface that it is on",fieldPath=".interface",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="!has(self.address) || !isIP(self.address) || !cidr('fe80::/10').containsIP(self.address) || !has(self.localAddress) && !has(self.multihop)",message="is link-local: remove multihop and localAddress, or use a global address",fieldPath=".address"
// +kubebuilder:validation:XValidation:rule="!has(self.address) || !isIP(self.address) || !has(self.localAddress) || !isIP(self.localAddress) || ip(self.address).family() == ip(self.localAddress).family()",message="use an address of the family of the peer's",fieldPath=".localAddress"
// +kubebuilder:validation:XValidation:rule="!has(self.multihop) || !has(self.interface)",message="a multihop peer is on no link: remove interface or multihop",fieldPath=".interface"
// +kubebuilder:validation:XValidation:rule="!has(self.families) || !has(self.address) || !isIP(self.address) || ip(self.address).family() == 6 || !('ipv6' in self.families)",message="an IPv4 session carries IPv4 alone: use the peer's IPv6 address, which carries both",fieldPath=".families"
// +kubebuilder:validation:XValidation:rule="!has(self.bfd) || self.bfd != 'immediate' || !has(self.gracefulRestart) || !self.gracefulRestart",message="contradicts gracefulRestart: use bfd: graceful, or gracefulRestart: false",fieldPath=".bfd"
// +kubebuilder:validation:XValidation:rule="!has(self.bfd) || !has(self.multihop) || has(self.localAddress)",message="BFD over several hops needs it",fieldPath=".localAddress",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="!has(self.keepaliveTime) || !has(self.holdTime) || duration(self.keepaliveTime) + duration(self.keepaliveTime) + duration(self.keepaliveTime) <= duration(self.holdTime)",message="use whole seconds from 1s to a third of holdTime, or remove it",fieldPath=".keepaliveTime"
// +kubebuilder:validation:XValidation:rule="!has(self.password)",message="a NodeConfig holds no password: put it in a Secret and name that in passwordSecretRef",fieldPath=".password",reason=FieldValueForbidden
type Peer struct {
	// Name of the peer, unique on the node. Where BIRD is the speaker its protocol is called "peer_" and the
	// name, with "_" for "-".
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="use at most 40 of a-z, 0-9 and -, a letter or digit first and last"
	Name string `json:"name"`
	// Address of the peer.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="write an address such as 2001:db8::10 or 192.0.2.10, without a zone; IPv4 not as ::ffff:192.0.2.10"
	// +kubebuilder:validation:XValidation:rule="!isIP(self) || ip(self).isGlobalUnicast() || ip(self).isLinkLocalUnicast()",message="is no unicast address: write the router's own address"
	Address string `json:"address,omitempty"`
	// Interface towards the peer. Alone it makes the session unnumbered: the node advertises itself
	// on the link and takes the session that the router opens from its link-local address.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9_.-]*$')",message="write an interface's name: letters, digits, - _ and . , at most 15"
	Interface string `json:"interface,omitempty"`
	// LocalAddress is the node's end of the session and the next hop of what it announces. Unset:
	// the one that the kernel chooses towards the peer.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="write an address such as 2001:db8::10 or 192.0.2.10, without a zone; IPv4 not as ::ffff:192.0.2.10"
	// +kubebuilder:validation:XValidation:rule="!isIP(self) || ip(self).isGlobalUnicast() || ip(self).isLinkLocalUnicast()",message="is no unicast address: write the node's own address"
	LocalAddress string `json:"localAddress,omitempty"`
	// PeerASN is the peer's AS number; the local one makes the session internal (iBGP).
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 4294967294 && self != 23456 && self != 65535",message="is no usable AS number: use 1 to 4294967294 but for 23456 and 65535; 64512 to 65534 are private"
	PeerASN int64 `json:"peerASN"`
	// Families are the address families that the session carries. Unset: that of the peer's address,
	// and of an unnumbered peer both.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Families []Family `json:"families,omitempty"`
	// PasswordSecretRef names the TCP MD5 password. A peer whose password cannot be read has no session.
	// +optional
	PasswordSecretRef *SecretKeyRef `json:"passwordSecretRef,omitempty"`
	// Password is refused: a NodeConfig holds no password. Use passwordSecretRef.
	// +optional
	Password *NoPassword `json:"password,omitempty"`
	// BFD watches the path to the peer: immediate drops the peer's routes when the path fails,
	// graceful keeps them for as long as a restart may take. Unset: no BFD.
	// +optional
	// +kubebuilder:validation:Enum=immediate;graceful
	BFD BFDMode `json:"bfd,omitempty"`
	// HoldTime is how long the peer may be silent, in whole seconds, 3s at least. Unset: 90s.
	// +optional
	// +kubebuilder:default="90s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('3s') && duration(self) <= duration('65535s') && timestamp(0) + duration(self) == timestamp(int(timestamp(0) + duration(self)))",message="use whole seconds from 3s to 65535s"
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`
	// KeepaliveTime is the time between keepalives, in whole seconds, a third of the hold time at
	// most. Unset: a third of the hold time.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && timestamp(0) + duration(self) == timestamp(int(timestamp(0) + duration(self)))",message="use whole seconds from 1s to a third of holdTime, or remove it"
	KeepaliveTime *metav1.Duration `json:"keepaliveTime,omitempty"`
	// GracefulRestart keeps routes while either side restarts. It excludes bfd: immediate. Unset: on,
	// unless bfd is immediate.
	// +optional
	GracefulRestart *bool `json:"gracefulRestart,omitempty"`
	// Multihop is the number of hops that the peer may be away, 2 at least. Unset: the peer is on a
	// link of the node.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=255
	Multihop int32 `json:"multihop,omitempty"`
	// Communities are added to what is announced: "65000:100", or large ones "65000:1:100".
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[0-9]{1,10}(:[0-9]{1,10}){1,2}$') && self.split(':').all(n, int(n) <= (self.split(':').size() == 2 ? 65535 : 4294967295))",message="write a community such as 65000:100, both parts at most 65535, or a large one such as 4200000000:1:100"
	Communities []string `json:"communities,omitempty"`
	// LocalPref is the local preference of what is announced to an internal peer.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	LocalPref *int64 `json:"localPref,omitempty"`
	// MED is the multi-exit discriminator of what is announced.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	MED *int64 `json:"med,omitempty"`
	// ImportAccept are the prefixes that the node takes from the peer. Unset: the default route. An
	// empty list: nothing. A prefix that holds an address of the node's own or of a peer is never
	// taken, the default route apart.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	ImportAccept []PrefixRange `json:"importAccept,omitzero"`
	// MaxPrefixes bounds what is taken from the peer in each family; what exceeds it is ignored and
	// the session stays up. Unset: 1000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2000000
	// +kubebuilder:default=1000
	MaxPrefixes int32 `json:"maxPrefixes,omitempty"`
}

// Family is an address family.
//
// +kubebuilder:validation:Enum=ipv4;ipv6
type Family string

// The values of [Family].
const (
	FamilyIPv4 Family = "ipv4"
	FamilyIPv6 Family = "ipv6"
)

// BFDMode is what a failed path does to a session.
type BFDMode string

// The values of [BFDMode]; empty is no BFD.
const (
	BFDImmediate BFDMode = "immediate"
	BFDGraceful  BFDMode = "graceful"
)

// NoPassword is the type of a field that a NodeConfig must not have: one that the API server did not
// know would be dropped in silence.
//
// +kubebuilder:validation:Type=string
type NoPassword struct{}

// UnmarshalJSON returns an error that says where the password belongs.
func (NoPassword) UnmarshalJSON([]byte) error {
	return errors.New(`"password" is refused: put it in a Secret and name that in passwordSecretRef`)
}

// SecretKeyRef names one key of a Secret in the namespace that flock runs in. Without Kubernetes it
// is the file name/key in the directory that birdd's --password-dir names.
type SecretKeyRef struct {
	// Name of the Secret.
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')",message="write the Secret's name: a-z, 0-9, - and ."
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key in the Secret. Unset: "password".
	// +optional
	// +kubebuilder:default=password
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._A-Za-z0-9]*[-_A-Za-z0-9][-._A-Za-z0-9]*$')",message="write the Secret's key: letters, digits, - _ and ."
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// PrefixRange is a CIDR, and with maxLength the prefixes inside it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxLength) || self.maxLength == 0 || !isCIDR(self.cidr) || self.maxLength >= cidr(self.cidr).prefixLength() && self.maxLength <= (self.cidr.contains(':') ? 128 : 32)",message="use the CIDR's own length to that of an address, or remove it",fieldPath=".maxLength"
type PrefixRange struct {
	// CIDR without host bits; alone it stands for exactly this prefix.
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="write a CIDR such as 2001:db8:1::/64 or 192.0.2.0/24"
	// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="has host bits set: write the network's own address, as in 192.0.2.0/24 for 192.0.2.1/24"
	CIDR string `json:"cidr"`
	// MaxLength adds the prefixes inside the CIDR up to this length.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=128
	MaxLength int32 `json:"maxLength,omitempty"`
}
