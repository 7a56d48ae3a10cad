// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BGP is the node's side of its BGP sessions.
type BGP struct {
	// LocalASN is the node's AS number.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967294
	LocalASN int64 `json:"localASN"`
	// RouterID is the node's BGP identifier in the form of an IPv4 address. Unset: a hash of the
	// NodeConfig's name, so that it never changes with the node's addresses.
	// +optional
	RouterID string `json:"routerID,omitempty"`
	// ExportAccept are the CIDRs inside which a pod's own address (fixed or anycast) may be announced;
	// the pools always are. Unset: every address. An empty list: none.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	ExportAccept []string `json:"exportAccept,omitzero"`
	// Peers are the routers that the node announces to.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Peers []Peer `json:"peers,omitempty"`
}

// Peer is one BGP session. It has an address, or, if it is unnumbered, an interface; a link-local
// address needs both.
type Peer struct {
	// Name of the peer, unique on the node. The BIRD protocol is called "peer_" and the name, with
	// "_" for "-".
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`
	Name string `json:"name"`
	// Address of the peer.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	Address string `json:"address,omitempty"`
	// Interface towards the peer. Alone it makes the session unnumbered: the node advertises itself
	// on the link and takes the session that the router opens from its link-local address.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`
	Interface string `json:"interface,omitempty"`
	// LocalAddress is the node's end of the session and the next hop of what it announces. Unset:
	// the one that the kernel chooses towards the peer.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	LocalAddress string `json:"localAddress,omitempty"`
	// PeerASN is the peer's AS number; the local one makes the session internal (iBGP).
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967294
	PeerASN int64 `json:"peerASN"`
	// Families are the address families that the session carries. Unset: that of the peer's address,
	// and of an unnumbered peer both.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Families []Family `json:"families,omitempty"`
	// PasswordSecretRef names the TCP MD5 password. A peer whose password cannot be read has no session.
	// +optional
	PasswordSecretRef *SecretKeyRef `json:"passwordSecretRef,omitempty"`
	// BFD watches the path to the peer: immediate drops the peer's routes when the path fails,
	// graceful keeps them for as long as a restart may take. Unset: no BFD.
	// +optional
	// +kubebuilder:validation:Enum=immediate;graceful
	BFD BFDMode `json:"bfd,omitempty"`
	// HoldTime is how long the peer may be silent, in whole seconds, 3s at least. Unset: 90s.
	// +optional
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`
	// KeepaliveTime is the time between keepalives, in whole seconds, a third of the hold time at
	// most. Unset: a third of the hold time.
	// +optional
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
	ImportAccept []PrefixRange `json:"importAccept,omitzero"`
	// MaxPrefixes bounds what is taken from the peer in each family; what exceeds it is ignored and
	// the session stays up. Unset: 1000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2000000
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

// SecretKeyRef names one key of a Secret in the namespace that flock runs in. Without Kubernetes it
// is the file name/key in the directory that birdd's --password-dir names.
type SecretKeyRef struct {
	// Name of the Secret.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key in the Secret. Unset: "password".
	// +optional
	// +kubebuilder:default=password
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// PrefixRange is a CIDR, and with maxLength the prefixes inside it.
type PrefixRange struct {
	// CIDR without host bits; alone it stands for exactly this prefix.
	// +kubebuilder:validation:MaxLength=43
	CIDR string `json:"cidr"`
	// MaxLength adds the prefixes inside the CIDR up to this length.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=128
	MaxLength int32 `json:"maxLength,omitempty"`
}
