// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is the pause between two looks at a condition.
const pollEvery = 5 * time.Millisecond

// Eventually calls check until it returns nil, or until ctx ends; then it returns check's last error with
// what was waited for.
func Eventually(ctx context.Context, what string, check func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	start := time.Now()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: not after %s: %w", what, time.Since(start).Round(time.Millisecond), err)
		case <-tick.C:
		}
	}
}

// Within is [Eventually] with a deadline of its own.
func Within(ctx context.Context, limit time.Duration, what string, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return Eventually(ctx, what, check)
}
