// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// NodeConfig configures flock on the node that it is named after.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=nc
// +kubebuilder:printcolumn:name=Ready,type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name=Reason,type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name=ASN,type=integer,JSONPath=`.spec.bgp.localASN`
// +kubebuilder:printcolumn:name=Peers,type=string,JSONPath=`.status.sessions`,description="BGP sessions that are established, of how many"
// +kubebuilder:printcolumn:name=IPv6,type=string,JSONPath=`.status.ipv6`,description="IPv6 addresses that pods have, of how many"
// +kubebuilder:printcolumn:name=IPv4,type=string,JSONPath=`.status.ipv4`,description="IPv4 addresses that pods have, of how many"
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name=Message,type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
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
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.all(b, a.name == b.name || !isCIDR(a.cidr) || !isCIDR(b.cidr) || !cidr(a.cidr).containsCIDR(b.cidr)))",message="pools overlap: make them disjoint or remove one"
	Pools []Pool `json:"pools,omitempty"`
	// Defaults apply to pods without the annotation of the same meaning.
	// +optional
	// +kubebuilder:default={}
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
//
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !isIP(self.gateway) || !isCIDR(self.cidr) || cidr(self.cidr).containsIP(self.gateway)",message="is outside the pool's CIDR: use an address of the pool",fieldPath=".gateway"
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !isIP(self.gateway) || !isCIDR(self.cidr) || cidr(self.cidr).prefixLength() >= (self.cidr.contains(':') ? 127 : 31) || !(ip(self.gateway) == cidr(self.cidr).ip())",message="is the network's own address: use another",fieldPath=".gateway"
// +kubebuilder:validation:XValidation:rule="!has(self.reserved) || !isCIDR(self.cidr) || self.reserved.all(r, r.contains('/') ? !isCIDR(r) || cidr(self.cidr).containsCIDR(r) : r.split('-', 2).all(a, !isIP(a) || cidr(self.cidr).containsIP(a)))",message="lies outside the pool's CIDR: correct or remove it",fieldPath=".reserved"
type Pool struct {
	// Name of the pool, unique on the node.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._:/-]+$')",message="use at most 63 of the letters a-z and A-Z, digits and - . _ : /"
	Name string `json:"name"`
	// CIDR of the pool, without host bits: "2001:db8:1::/64", "192.0.2.0/26".
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="write a CIDR such as 2001:db8:1::/64 or 192.0.2.0/24"
	// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="has host bits set: write the network's own address, as in 192.0.2.0/24 for 192.0.2.1/24"
	// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || !['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '255.255.255.255/32', '::/127', 'fe80::/10', 'ff00::/8'].exists(s, cidr(s).containsCIDR(self) || cidr(self).containsCIDR(s))",message="holds addresses that no pod can have: use global unicast or private addresses"
	CIDR string `json:"cidr"`
	// Gateway is the address that main plugins of the subnet profile (ptp, bridge) give their pods
	// as the gateway; it goes to no pod. Unset: the first host address.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="write an address such as 2001:db8::10 or 192.0.2.10, without a zone; IPv4 not as ::ffff:192.0.2.10"
	Gateway string `json:"gateway,omitempty"`
	// Reserved are addresses, CIDRs or ranges ("192.0.2.10-192.0.2.20") that are not allocated.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=79
	// +kubebuilder:validation:items:XValidation:rule="self.contains('/') ? isCIDR(self) && cidr(self) == cidr(self).masked() : self.split('-', 2).all(a, isIP(a))",message="write an address, a CIDR without host bits, or a range such as 192.0.2.10-192.0.2.20"
	Reserved []string `json:"reserved,omitempty"`
	// Allocator picks the addresses: random, sequential, or the name of an extension, which ipamd runs. Unset: random for
	// IPv6, sequential for IPv4.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="write random, sequential, or an extension's name: at most 40 of a-z, 0-9 and -"
	Allocator string `json:"allocator,omitempty"`
	// Announce tells how the pool's addresses are announced: summary announces the pool, addresses each pod's
	// address by itself. Pools that several nodes share need the latter.
	// +optional
	// +kubebuilder:validation:Enum=summary;addresses
	// +kubebuilder:default=summary
	Announce PoolAnnounce `json:"announce,omitempty"`
}

// PoolAnnounce is how a pool's addresses are announced.
type PoolAnnounce string

// The values of [PoolAnnounce].
const (
	AnnounceSummary   PoolAnnounce = "summary"
	AnnounceAddresses PoolAnnounce = "addresses"
)

// Defaults apply to pods that carry no annotation of the same meaning.
//
// +kubebuilder:validation:XValidation:rule="!has(self.ipv6) || self.ipv6 || !has(self.ipv4) || self.ipv4",message="ipv6 and ipv4 are both false, which leaves pods without an address: remove one"
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
	// +listType=atomic
	// +kubebuilder:validation:XValidation:rule="self.all(f, self.exists_one(g, g == f))",message="names a field twice: name each once"
	IPAlgo []IPAlgoField `json:"ipAlgo,omitempty"`
	// CoolDown is how long a released address is not given out again. Unset: 120s.
	// +optional
	// +kubebuilder:default="120s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="write a duration of 0s or more, such as 120s"
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
