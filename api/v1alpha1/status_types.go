// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// NodeConfigStatus is what the node's daemons observe.
type NodeConfigStatus struct {
	// Conditions are PoolsReady, Established, Announced and Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// IPv6 says how many IPv6 addresses pods have, of how many there are: "12/2^64".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	IPv6 string `json:"ipv6,omitempty"`
	// IPv4 says how many IPv4 addresses pods have, of how many there are: "12/253".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	IPv4 string `json:"ipv4,omitempty"`
	// Sessions says how many peers are established, of how many there are: "2/2".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Sessions string `json:"sessions,omitempty"`
	// Pools count the addresses of the node's pools.
	// +optional
	// +listType=map
	// +listMapKey=cidr
	// +kubebuilder:validation:MaxItems=256
	Pools []PoolStatus `json:"pools,omitempty"`
	// Peers are the BGP sessions.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Peers []PeerStatus `json:"peers,omitempty"`
	// Anycast are the anycast addresses of the node's pods.
	// +optional
	// +listType=map
	// +listMapKey=address
	// +kubebuilder:validation:MaxItems=1024
	Anycast []AnycastStatus `json:"anycast,omitempty"`
}

// PoolStatus counts the addresses of one pool.
type PoolStatus struct {
	// Name of the pool.
	Name string `json:"name"`
	// CIDR of the pool.
	CIDR string `json:"cidr"`
	// Allocated addresses belong to an attachment.
	Allocated int64 `json:"allocated"`
	// Cooling addresses were released less than the cool-down ago.
	Cooling int64 `json:"cooling"`
	// Free addresses could be given out now; a pool with more of them than 2^62 says 2^62.
	Free int64 `json:"free"`
}

// PeerStatus is one BGP session as the node's speaker shows it.
type PeerStatus struct {
	// Name of the peer.
	Name string `json:"name"`
	// State of the session in BGP's words: Idle, Connect, Active, OpenSent, OpenConfirm, Established;
	// or Absent when the speaker has none, for the reason in lastError.
	State string `json:"state"`
	// Since is when the session got into its state.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// LastError is what ended the session last, or keeps it from starting.
	// +optional
	LastError string `json:"lastError,omitempty"`
	// PrefixesReceived are those that the import filter took.
	PrefixesReceived int64 `json:"prefixesReceived"`
	// PrefixesExported are those that the peer was told.
	PrefixesExported int64 `json:"prefixesExported"`
}

// The states of a peer that mean more than themselves.
const (
	PeerEstablished = "Established"
	// PeerAbsent: the speaker has no session for the peer.
	PeerAbsent = "Absent"
)

// AnycastStatus is one anycast address of the node's pods.
type AnycastStatus struct {
	// Address without a prefix length.
	Address string `json:"address"`
	// Pods that carry the address, as namespace/name.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	Pods []string `json:"pods,omitempty"`
	// Announced tells whether the address is announced from this node.
	Announced bool `json:"announced"`
}
