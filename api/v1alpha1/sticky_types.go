// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"net/netip"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StickyAddress is an address that belongs to one pod of a StatefulSet, on whichever node that runs. It is named after
// the address, see [StickyAddressName], so that no address belongs to two.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=stickyaddresses,shortName=sticky
// +kubebuilder:selectablefield:JSONPath=`.spec.pool`
// +kubebuilder:selectablefield:JSONPath=`.spec.owner.namespace`
// +kubebuilder:selectablefield:JSONPath=`.spec.owner.statefulSet`
// +kubebuilder:selectablefield:JSONPath=`.spec.owner.ordinal`
// +kubebuilder:selectablefield:JSONPath=`.spec.holder.node`
// +kubebuilder:selectablefield:JSONPath=`.spec.holder.containerID`
// +kubebuilder:printcolumn:name=Address,type=string,JSONPath=`.spec.address`
// +kubebuilder:printcolumn:name=Pool,type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name=Namespace,type=string,JSONPath=`.spec.owner.namespace`
// +kubebuilder:printcolumn:name=StatefulSet,type=string,JSONPath=`.spec.owner.statefulSet`
// +kubebuilder:printcolumn:name=Ordinal,type=integer,JSONPath=`.spec.owner.ordinal`
// +kubebuilder:printcolumn:name=Node,type=string,JSONPath=`.spec.holder.node`,description="where a pod has the address now"
// +kubebuilder:printcolumn:name=Since,type=date,JSONPath=`.spec.holder.since`
// +kubebuilder:printcolumn:name=Released,type=date,priority=1,JSONPath=`.spec.released`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == (self.spec.address.endsWith(':') ? self.spec.address + '0' : self.spec.address).replace(':', '-')",message="name it after its address, with - for each : and a 0 behind the last of them: 2001-db8--7, 192.0.2.7"
type StickyAddress struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec StickyAddressSpec `json:"spec"`
}

// StickyAddressList is a list of StickyAddresses.
//
// +kubebuilder:object:root=true
type StickyAddressList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []StickyAddress `json:"items"`
}

// StickyAddressSpec says whose the address is, and who has it now.
type StickyAddressSpec struct {
	// Address without a prefix length, in its shortest form: "2001:db8::7", "192.0.2.7".
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self) && ip.isCanonical(self)",message="write an address in its shortest form, such as 2001:db8::7 or 192.0.2.7"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="does not change: make another StickyAddress"
	Address string `json:"address"`
	// Pool is the name of the pool that the address is from. The nodes have it in common.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="does not change: make another StickyAddress"
	Pool string `json:"pool"`
	// Owner is the pod that the address belongs to.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="does not change: make another StickyAddress"
	Owner StickyOwner `json:"owner"`
	// Holder is who has the address now; nobody else gets it. allocator-sticky alone sets it. Unset: nobody.
	// +optional
	Holder *StickyHolder `json:"holder,omitempty"`
	// Grants counts how often the address was given.
	// +optional
	Grants int64 `json:"grants,omitempty"`
	// Released is when the last holder gave the address back.
	// +optional
	Released *metav1.Time `json:"released,omitempty"`
}

// StickyOwner is a pod of a StatefulSet, now or whenever there is one: <statefulSet>-<ordinal>.
type StickyOwner struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	StatefulSet string `json:"statefulSet"`
	// +kubebuilder:validation:Minimum=0
	Ordinal int32 `json:"ordinal"`
}

// StickyHolder is an attachment: a pod's interface on a node.
type StickyHolder struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// BootID is what the node's kernel calls the time since its last start.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	BootID string `json:"bootID"`
	// ContainerID is the container runtime's name for the pod's sandbox.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ContainerID string `json:"containerID"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	IfName string `json:"ifName"`
	// +optional
	// +kubebuilder:validation:MaxLength=128
	PodUID string      `json:"podUID,omitempty"`
	Since  metav1.Time `json:"since"`
}

// StickyResource is what the API server calls the collection of StickyAddresses.
const StickyResource = "stickyaddresses"

// StickyAddressName returns what the StickyAddress of an address is called: colons are no part of a name, so 2001:db8::7
// is 2001-db8--7, and 2001:db8:: is 2001-db8--0.
func StickyAddressName(addr netip.Addr) string {
	name := strings.ReplaceAll(addr.String(), ":", "-")
	if strings.HasSuffix(name, "-") {
		name += "0"
	}
	return name
}
