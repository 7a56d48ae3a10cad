// SPDX-License-Identifier: Apache-2.0

// Package source brings the node's NodeConfig: from a file, or from the API server.
package source

import (
	"context"
	"errors"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

// Why there is no NodeConfig to go by. All leave what runs as it is.
var (
	// ErrInvalid tells that the NodeConfig is there and cannot be meant as it stands.
	ErrInvalid = errors.New("invalid")
	// ErrAbsent tells that there is no NodeConfig, or none any more.
	ErrAbsent = errors.New("absent")
	// ErrUnanswered tells that it is not known yet whether there is one.
	ErrUnanswered = errors.New("the API server has not answered yet")
)

// Source is where the NodeConfig stands.
type Source interface {
	// Read returns the NodeConfig as it is now. An error matches one of the above where that is
	// the reason.
	Read() (*v1alpha1.Config, error)
	// Run calls changed when Read may return something else, until the context ends, which is not an error.
	Run(ctx context.Context, changed func()) error
}

// parse returns what a NodeConfig means, or everything that is wrong with it.
func parse(c *v1alpha1.NodeConfig) (*v1alpha1.Config, error) {
	config, errs := c.Parse()
	if len(errs) > 0 {
		return nil, because(ErrInvalid, errs.ToAggregate())
	}
	return config, nil
}

// because marks an error with its reason, without a word more.
func because(reason, err error) error { return &reasoned{err, reason} }

type reasoned struct {
	error
	reason error
}

func (e *reasoned) Unwrap() []error { return []error{e.error, e.reason} }
