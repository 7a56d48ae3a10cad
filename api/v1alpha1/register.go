// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is what the API server calls the collection of NodeConfigs.
const Resource = "nodeconfigs"

// GroupVersion is the API group and version of the types.
var GroupVersion = schema.GroupVersion{Group: Group, Version: Version}

// AddToScheme adds the types of this package to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &NodeConfig{}, &NodeConfigList{}, &StickyAddress{}, &StickyAddressList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
