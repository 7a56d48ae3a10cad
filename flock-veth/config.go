// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"flock.fritzlab.net/flock/flock-veth/internal/delegate"
	"flock.fritzlab.net/flock/flock-veth/internal/node"
	"flock.fritzlab.net/flock/plugins/cni"
)

// keys is what the user writes.
type keys struct {
	// StateDir is every stage's key; this one keeps its state in the kernel.
	StateDir string `json:"stateDir"`
	MTU      *int   `json:"mtu"`
}

// config is what the verbs use.
type config struct {
	mtu  int              // of the pair; 0 takes the uplink's
	ipam *delegate.Plugin // nil where the addresses come in prevResult
}

func parse(in cni.Input) (config, error) {
	var user keys
	if err := cni.Strict(in.Own, &user); err != nil {
		return config{}, err
	}
	var c config
	if user.MTU != nil {
		c.mtu = *user.MTU
		if c.mtu < node.MinMTU || c.mtu > node.MaxMTU {
			return config{}, fmt.Errorf("key \"mtu\": %d is not between %d, which IPv6 needs, and %d", c.mtu, node.MinMTU, node.MaxMTU)
		}
	}
	// An empty ipam section says, in the reference plugins' configurations, that there is none.
	var section map[string]any
	if err := cni.Strict(in.IPAM, &section); err != nil {
		return config{}, fmt.Errorf("key \"ipam\": %w", err)
	}
	if in.IPAMType != "" {
		c.ipam = &delegate.Plugin{Type: in.IPAMType, CNIVersion: in.CNIVersion, Config: in.Raw}
	} else if len(section) > 0 {
		return config{}, errors.New("key \"ipam\": it has no type, the name of the IPAM plugin to run")
	}
	return c, nil
}
