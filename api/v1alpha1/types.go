// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// NodeConfig configures flock on the node that it is named after.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=nc
type NodeConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec NodeConfigSpec `json:"spec"`
	// +optional
	Status NodeConfigStatus `json:"status,omitzero"`
}

// NodeConfigList is a list of NodeConfigs.
//
// +kubebuilder:object:root=true
type NodeConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []NodeConfig `json:"items"`
}

// NodeConfigSpec is what is wanted of the node.
type NodeConfigSpec struct {
	// Pools are what the node's pods get their addresses from, and what the node announces. The
	// first pool of a family that has room serves.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Pools []Pool `json:"pools,omitempty"`
	// Defaults apply to pods without the annotation of the same meaning.
	// +optional
	Defaults Defaults `json:"defaults,omitzero"`
	// MTU of the pods' interfaces, in bytes. Unset: that of the node's default-route link.
	// +optional
	// +kubebuilder:validation:Minimum=1280
	// +kubebuilder:validation:Maximum=65535
	MTU int32 `json:"mtu,omitempty"`
	// SummaryRoute is what the node answers packets to a free address of a pool with: blackhole
	// drops them, unreachable sends an ICMP error.
	// +optional
	// +kubebuilder:validation:Enum=blackhole;unreachable
	// +kubebuilder:default=blackhole
	SummaryRoute SummaryRoute `json:"summaryRoute,omitempty"`
	// BGP announces the node's addresses. Unset: nothing is announced.
	// +optional
	BGP *BGP `json:"bgp,omitempty"`
}

// SummaryRoute is the type of the route that covers a pool in the node's main table.
type SummaryRoute string

// The values of [SummaryRoute].
const (
	SummaryBlackhole   SummaryRoute = "blackhole"
	SummaryUnreachable SummaryRoute = "unreachable"
)

// Pool is one range of addresses.
type Pool struct {
	// Name of the pool, unique on the node.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._:/-]{1,63}$`
	Name string `json:"name"`
	// CIDR of the pool, without host bits: "2001:db8:1::/64", "192.0.2.0/26".
	// +kubebuilder:validation:MaxLength=43
	CIDR string `json:"cidr"`
	// Gateway is the address that main plugins of the subnet profile (ptp, bridge) give their pods
	// as the gateway; it goes to no pod. Unset: the first host address.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	Gateway string `json:"gateway,omitempty"`
	// Reserved are addresses, CIDRs or ranges ("192.0.2.10-192.0.2.20") that are not allocated.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	Reserved []string `json:"reserved,omitempty"`
}

// Defaults apply to pods that carry no annotation of the same meaning.
type Defaults struct {
	// IPv6 tells whether pods get an IPv6 address. Unset: where the node has an IPv6 pool.
	// +optional
	IPv6 *bool `json:"ipv6,omitempty"`
	// IPv4 tells whether pods get an IPv4 address. Unset: where the node has an IPv4 pool.
	// +optional
	IPv4 *bool `json:"ipv4,omitempty"`
	// IPAlgo lists the identity fields whose hashes go into the host part of IPv6 addresses, in
	// order. Unset: the host part is random.
	// +optional
	// +kubebuilder:validation:MaxItems=3
	IPAlgo []IPAlgoField `json:"ipAlgo,omitempty"`
	// CoolDown is how long a released address is not given out again. Unset: 120s.
	// +optional
	CoolDown *metav1.Duration `json:"coolDown,omitempty"`
}

// IPAlgoField is an identity field of a pod.
//
// +kubebuilder:validation:Enum=namespace;pod;image
type IPAlgoField string

// The values of [IPAlgoField].
const (
	IPAlgoNamespace IPAlgoField = "namespace"
	IPAlgoPod       IPAlgoField = "pod"
	IPAlgoImage     IPAlgoField = "image"
)
