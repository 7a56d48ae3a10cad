// SPDX-License-Identifier: Apache-2.0

// Package kube tests flock as the network of a Kubernetes node where something goes wrong: real plugins through
// libcni, the real daemons and BIRD, and a real API server. It holds tests only.
package kube

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// kind starts the names of the labs.
const kind = "flt-kube"

// within bounds what takes no time but for a busy machine.
const within = 15 * time.Second

// flockBin is the folder of the programs under test.
var flockBin string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	lab.CloseOnSignal()
	if _, err := lab.Sweep(kind); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if flockBin, err = build.Flock(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// check ends the test on an error.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await waits until look returns nil.
func await(t testing.TB, what string, look func() error) {
	t.Helper()
	check(t, lab.Within(t.Context(), within, what, look))
}
