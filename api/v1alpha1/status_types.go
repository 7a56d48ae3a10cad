// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The condition types of a NodeConfig.
const (
	ConditionPoolsReady  = "PoolsReady"
	ConditionEstablished = "Established"
	ConditionAnnounced   = "Announced"
	ConditionReady       = "Ready"
)

// NodeConfigStatus is what the node's daemons observe.
type NodeConfigStatus struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=name
	Pools []PoolStatus `json:"pools,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=name
	Peers []PeerStatus `json:"peers,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=address
	Anycast []AnycastStatus `json:"anycast,omitempty"`
}

// PoolStatus counts the addresses of one pool.
type PoolStatus struct {
	Name string `json:"name"`
	CIDR string `json:"cidr"`
	// Allocated addresses belong to an attachment.
	Allocated int64 `json:"allocated"`
	// Cooling addresses were released less than the cool-down ago.
	Cooling int64 `json:"cooling"`
	// Free addresses could be given out now; a pool with more of them than 2^62 says 2^62.
	Free int64 `json:"free"`
}

// PeerStatus is one BGP session as BIRD shows it.
type PeerStatus struct {
	Name string `json:"name"`
	// State of the session in BGP's words: Idle, Connect, Active, OpenSent, OpenConfirm, Established;
	// or Absent when it is not configured in BIRD, for the reason in lastError.
	State string `json:"state"`
	// Since is when the session got into its state.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// +optional
	LastError string `json:"lastError,omitempty"`
	// PrefixesReceived are those that the import filter took.
	PrefixesReceived int64 `json:"prefixesReceived"`
	PrefixesExported int64 `json:"prefixesExported"`
}

// AnycastStatus is one anycast address of the node's pods.
type AnycastStatus struct {
	Address string `json:"address"`
	// Pods that carry the address, as namespace/name.
	// +optional
	Pods      []string `json:"pods,omitempty"`
	Announced bool     `json:"announced"`
}
