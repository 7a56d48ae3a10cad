// SPDX-License-Identifier: Apache-2.0

//go:build cluster

// Package e2e tries flock on a real cluster: kubelets, containerd, a router. "make test-cluster" runs it, which
// builds the cluster, and removes it afterwards; "make test" does not.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/cluster"
)

const (
	name = "flock-e2e"
	dir  = "/var/tmp/flock-e2e"
)

var (
	keep = flag.Bool("keep", false, "leave the cluster up, and use the one that was left up")

	// site is the cluster of all tests.
	site *cluster.Cluster
	// one and two are two releases of flock; one is installed.
	one, two cluster.Release
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if site, err = cluster.New(cluster.Options{Name: name, Dir: dir, Nodes: 2, Log: os.Stdout}); err != nil {
		return 1, err
	}
	if one, err = cluster.BuildRelease(ctx, "one"); err != nil {
		return 1, err
	}
	if two, err = cluster.BuildRelease(ctx, "two"); err != nil {
		return 1, err
	}
	if err := bringUp(ctx); err != nil {
		return 1, err
	}
	if err := site.InstallFlock(ctx, one); err != nil {
		return 1, err
	}
	site.Say("flock: installed")
	code = m.Run()
	if *keep {
		return code, nil
	}
	return code, site.Down(ctx)
}

// bringUp brings up the cluster, in the place of what an interrupted run has left, unless it is to be kept and is up.
func bringUp(ctx context.Context) error {
	programs, err := cluster.Build(ctx)
	if err != nil {
		return err
	}
	if *keep && site.Complete() {
		return site.Load(ctx, programs.Images...)
	}
	if err := site.Down(ctx); err != nil {
		return err
	}
	return site.Up(ctx, programs)
}

// startLimit is how long pods may take to be Ready, endLimit to be gone, on a busy machine.
const (
	startLimit = 3 * time.Minute
	endLimit   = 3 * time.Minute
)
