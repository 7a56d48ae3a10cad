// SPDX-License-Identifier: Apache-2.0

// Command flock-veth is a CNI plugin that attaches a pod to its node by a routed veth pair. It takes the
// pod's addresses from prevResult, or from its own ipam section when it stands first, and gives them to
// the pod as host addresses behind gateways that are the same on every node: fe80::1 and 169.254.1.1.
//
// Both ends know each other's MAC address beforehand, so no packet waits for a neighbour to be found.
// The host's routes to the pod are not flock-veth's: flock-route adds them.
package main

import (
	"flock.fritzlab.net/flock/plugins/cni"
)

const name = "flock-veth"

var plugin = cni.Plugin[config]{
	Name:   name,
	Parse:  parse,
	Add:    add,
	Del:    del,
	Check:  check,
	GC:     gc,
	Status: status,
}

func main() { plugin.Main() }
