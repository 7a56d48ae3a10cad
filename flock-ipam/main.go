// SPDX-License-Identifier: Apache-2.0

// Flock-ipam is the CNI plugin that gives a pod its addresses. It stands first in flock's chain, or in
// the ipam section of another plugin, such as ptp, bridge or macvlan.
package main

import (
	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

var plugin = cni.Plugin[config.Config]{
	Name:   config.Name,
	Parse:  config.Parse,
	Add:    add,
	Del:    del,
	Check:  check,
	GC:     collect,
	Status: status,
}

func main() { plugin.Main() }

// openStore returns the node's store, which repairs itself from the kernel. Nothing is opened yet.
func openStore(c config.Config) store.Store { return rebuild.Store(c.StateDir) }
