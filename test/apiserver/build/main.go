// SPDX-License-Identifier: Apache-2.0

// Command build makes what package apiserver starts, where it is not there yet, and prints its folder; with
// -cluster what package test/cluster starts. Run before the tests it keeps those minutes out of their time limit.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"flock.fritzlab.net/flock/test/apiserver"
)

func main() {
	cluster := flag.Bool("cluster", false, "build every program of a cluster")
	flag.Parse()
	build := apiserver.Build
	if *cluster {
		build = apiserver.BuildCluster
	}
	dir, err := build(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
