// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"

	"flock.fritzlab.net/flock/internal/hosttest"
)

func TestMain(m *testing.M) {
	hosttest.AsPlugin(stage, main)
	os.Exit(m.Run())
}
