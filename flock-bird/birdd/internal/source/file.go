// SPDX-License-Identifier: Apache-2.0

// Package source reads the NodeConfig where there is no Kubernetes: from a file.
package source

import (
	"fmt"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

// Read returns the NodeConfig of a file, or an error with everything that is wrong with it.
func Read(path string) (*v1alpha1.Config, error) {
	nodeConfig, err := v1alpha1.Load(path)
	if err != nil {
		return nil, err
	}
	config, errs := nodeConfig.Parse()
	if len(errs) > 0 {
		return nil, fmt.Errorf("check NodeConfig %s: %w", path, errs.ToAggregate())
	}
	return config, nil
}
