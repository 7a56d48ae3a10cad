// SPDX-License-Identifier: Apache-2.0

package nodejson

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
)

// podCIDRName is what the names of pools begin with that are a Node's podCIDRs.
const podCIDRName = "podCIDR-"

// KeepPodCIDRs is [Keep] for a node without a NodeConfig: its Node's podCIDRs are its pools, and the rest is
// left to what is built in.
func KeepPodCIDRs(path string, cidrs []string) (wrote bool, err error) {
	if wrote, err = keep(path, podCIDRs(cidrs)); err != nil {
		return false, fmt.Errorf("take the Node's podCIDRs for pools: %w", err)
	}
	return wrote, nil
}

func podCIDRs(cidrs []string) nodefile.Spec {
	spec := nodefile.Spec{Pools: []pool.Spec{}}
	for _, cidr := range cidrs {
		spec.Pools = append(spec.Pools, pool.Spec{Name: podCIDRName + cidr, CIDR: cidr})
	}
	return spec
}

// Origin is whose word a file is.
type Origin int

// The origins.
const (
	// Absent: there is no file.
	Absent Origin = iota
	// PodCIDRs: [KeepPodCIDRs] wrote it.
	PodCIDRs
	// Given: it was made of a NodeConfig or by a person, or cannot be read.
	Given
)

// OriginOf tells a file's origin by what it says: one of podCIDRs says no more than that.
func OriginOf(path string) Origin {
	node, err := nodefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Absent
	}
	if err != nil || len(node.Pools) == 0 {
		return Given
	}
	var cidrs []string
	for _, p := range node.Pools {
		cidrs = append(cidrs, p.Prefix.String())
	}
	if same, err := podCIDRs(cidrs).Parse(); err == nil && reflect.DeepEqual(same, node) {
		return PodCIDRs
	}
	return Given
}
