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

// InvalidError is that a NodeConfig is wrong: Err names all that is.
type InvalidError struct {
	Name string
	Err  error
}

func (e *InvalidError) Error() string { return fmt.Sprintf("check NodeConfig %s: %v", e.Name, e.Err) }

// Unwrap returns what is wrong.
func (e *InvalidError) Unwrap() error { return e.Err }

// Keep writes what flock-ipam needs of the NodeConfig to the file, unless the file means the same already,
// and returns whether it wrote. An error that is not about the file is an [*InvalidError]; with either the
// file stays as it is.
func Keep(path string, config *v1alpha1.NodeConfig) (wrote bool, err error) {
	if _, errs := config.Parse(); len(errs) > 0 {
		return false, &InvalidError{config.Name, errs.ToAggregate()}
	}
	spec := Spec(config)
	if _, err := spec.Parse(); err != nil {
		return false, &InvalidError{config.Name, err}
	}
	return keep(path, spec)
}

func keep(path string, spec nodefile.Spec) (wrote bool, err error) {
	wanted, err := spec.Parse()
	if err != nil {
		return false, err
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
		spec.Pools = append(spec.Pools, pool.Spec{Name: p.Name, CIDR: p.CIDR, Gateway: p.Gateway, Reserved: p.Reserved, Allocator: p.Allocator})
	}
	for _, field := range defaults.IPAlgo {
		spec.Defaults.IPAlgo = append(spec.Defaults.IPAlgo, string(field))
	}
	if defaults.CoolDown != nil {
		spec.Defaults.CoolDown = defaults.CoolDown.Duration.String()
	}
	return spec
}
