// SPDX-License-Identifier: Apache-2.0

// Package nodejson keeps node.json, which flock-ipam reads, as the NodeConfig says.
package nodejson

import (
	"fmt"
	"reflect"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
)

// Keep writes what flock-ipam needs of the NodeConfig to the file, unless the file means the same already,
// and returns whether it wrote. An error names everything that is wrong with the NodeConfig, and then the file stays
// as it is.
func Keep(path string, config *v1alpha1.NodeConfig) (wrote bool, err error) {
	if _, errs := config.Parse(); len(errs) > 0 {
		return false, fmt.Errorf("check NodeConfig %s: %w", config.Name, errs.ToAggregate())
	}
	spec := Spec(config)
	wanted, err := spec.Parse()
	if err != nil {
		return false, fmt.Errorf("check NodeConfig %s: %w", config.Name, err)
	}
	if there, err := nodefile.Read(path); err == nil && reflect.DeepEqual(there, wanted) {
		return false, nil
	}
	if err := nodefile.Write(path, spec); err != nil {
		return false, err
	}
	return true, nil
}

// Spec returns what node.json holds of a NodeConfig.
func Spec(config *v1alpha1.NodeConfig) nodefile.Spec {
	defaults := config.Spec.Defaults
	spec := nodefile.Spec{
		Pools:    make([]pool.Spec, 0, len(config.Spec.Pools)),
		Defaults: nodefile.DefaultsSpec{IPv6: defaults.IPv6, IPv4: defaults.IPv4},
		MTU:      int(config.Spec.MTU),
	}
	for _, p := range config.Spec.Pools {
		spec.Pools = append(spec.Pools, pool.Spec{Name: p.Name, CIDR: p.CIDR, Gateway: p.Gateway, Reserved: p.Reserved})
	}
	for _, field := range defaults.IPAlgo {
		spec.Defaults.IPAlgo = append(spec.Defaults.IPAlgo, string(field))
	}
	if defaults.CoolDown != nil {
		spec.Defaults.CoolDown = defaults.CoolDown.Duration.String()
	}
	return spec
}
