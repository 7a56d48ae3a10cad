// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"

	"flock.fritzlab.net/flock/flock-veth/internal/delegate"
	"flock.fritzlab.net/flock/flock-veth/internal/node"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/plugins/cni"
)

// keys is what the user writes.
type keys struct {
	// StateDir is every stage's key; this one keeps its state in the kernel.
	StateDir string `json:"stateDir"`
	MTU      *int   `json:"mtu"`
	NodeFile string `json:"nodeFile"`
}

// config is what the verbs use.
type config struct {
	mtu      int              // of the pair; 0 takes the node file's, or the uplink's
	nodeFile string           // may be missing
	ipam     *delegate.Plugin // nil where the addresses come in prevResult
}

// linkMTU returns what the configuration or the node file says, 0 where neither does.
func (c config) linkMTU() (int, error) {
	if c.mtu != 0 {
		return c.mtu, nil
	}
	n, err := nodefile.Read(c.nodeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return n.MTU, err
}

func parse(in cni.Input) (config, error) {
	var user keys
	if err := cni.Strict(in.Own, &user); err != nil {
		return config{}, err
	}
	c := config{nodeFile: cmp.Or(user.NodeFile, nodefile.DefaultPath)}
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
