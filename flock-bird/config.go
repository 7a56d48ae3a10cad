// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// keys is what the user writes.
type keys struct {
	StateDir string  `json:"stateDir"`
	Table    *uint32 `json:"table"`
	Anycast  string  `json:"anycast"`
}

// The values of the key "anycast".
const (
	anycastReady     = "ready"
	anycastImmediate = "immediate"
)

// config is what the verbs use.
type config struct {
	stateDir string
	table    uint32
	// immediate announces anycast addresses at ADD, without birdd.
	immediate bool
}

func parse(in cni.Input) (config, error) {
	var k keys
	if err := cni.Strict(in.Own, &k); err != nil {
		return config{}, err
	}
	c := config{stateDir: store.DefaultDir, table: rtnl.TableAnnounce, immediate: k.Anycast == anycastImmediate}
	if k.StateDir != "" {
		c.stateDir = k.StateDir
	}
	if k.Table != nil {
		c.table = *k.Table
	}
	switch {
	case !filepath.IsAbs(c.stateDir):
		return config{}, fmt.Errorf("key \"stateDir\": %q is no absolute path", c.stateDir)
	case c.table == 0 || c.table >= unix.RT_TABLE_DEFAULT && c.table <= unix.RT_TABLE_LOCAL:
		return config{}, fmt.Errorf("key \"table\": %d is one that the kernel forwards by; take one that no rule looks up", c.table)
	case k.Anycast != "" && k.Anycast != anycastReady && k.Anycast != anycastImmediate:
		return config{}, fmt.Errorf("key \"anycast\": %q is neither %q nor %q", k.Anycast, anycastReady, anycastImmediate)
	}
	return c, nil
}

// store returns the node's store, which repairs itself.
func (c config) store() store.Store { return rebuild.Store(c.stateDir) }
