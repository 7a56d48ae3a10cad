// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds NodeConfig, the one document that configures flock on a node: its types,
// defaults and validation. With Kubernetes it is a cluster-scoped object named as its node; without,
// a YAML file of the same form.
//
// What a user writes is a [NodeConfig]; what the daemons use is the [Config] that [NodeConfig.Parse]
// makes of it, past which nothing is checked again.
//
// +kubebuilder:object:generate=true
// +groupName=flock.fritzlab.net
package v1alpha1

// The group, version and kind that a NodeConfig document names.
const (
	Group      = "flock.fritzlab.net"
	Version    = "v1alpha1"
	Kind       = "NodeConfig"
	APIVersion = Group + "/" + Version
)
