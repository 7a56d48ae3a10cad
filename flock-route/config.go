// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"

	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// keys is what the user writes.
type keys struct {
	StateDir string  `json:"stateDir"`
	Metric   *uint32 `json:"metric"`
}

// config is what the verbs use.
type config struct {
	stateDir string
	metric   uint32
}

func parse(in cni.Input) (config, error) {
	var k keys
	if err := cni.Strict(in.Own, &k); err != nil {
		return config{}, err
	}
	c := config{stateDir: store.DefaultDir, metric: rtnl.Metric}
	if k.StateDir != "" {
		c.stateDir = k.StateDir
	}
	if !filepath.IsAbs(c.stateDir) {
		return config{}, fmt.Errorf("key \"stateDir\": %q is no absolute path", c.stateDir)
	}
	if k.Metric != nil {
		c.metric = *k.Metric
	}
	if c.metric <= rtnl.MetricReady {
		return config{}, fmt.Errorf("key \"metric\": %d is not above %d, the metric of the routes to ready pods", c.metric, rtnl.MetricReady)
	}
	return c, nil
}

// store returns the node's store, which repairs itself.
func (c config) store() store.Store { return rebuild.Store(c.stateDir) }
