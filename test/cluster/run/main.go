// SPDX-License-Identifier: Apache-2.0

// Command run brings a cluster up or takes it down: "run up", "run down".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"flock.fritzlab.net/flock/test/cluster"
)

func main() {
	name := flag.String("name", "flock-cluster", "start of the names of the cluster's namespaces and cgroups")
	dir := flag.String("dir", "/var/tmp/flock-cluster", "folder of its state")
	nodes := flag.Int("nodes", 2, "how many nodes it has")
	network := flag.String("network", "flock", "what attaches pods: flock, or ptp, the reference plugin")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, flag.Arg(0), *network, cluster.Options{Name: *name, Dir: *dir, Nodes: *nodes, Log: os.Stdout})
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command, network string, o cluster.Options) error {
	if os.Geteuid() != 0 {
		return errors.New("making network namespaces takes root: run it with sudo")
	}
	c, err := cluster.New(o)
	if err != nil {
		return err
	}
	switch command {
	case "up":
		return up(ctx, c, network)
	case "down":
		return down(ctx, c)
	}
	return fmt.Errorf("say up or down, not %q", command)
}

func up(ctx context.Context, c *cluster.Cluster, network string) error {
	programs, err := cluster.Build(ctx)
	if err != nil {
		return err
	}
	if err := c.Up(ctx, programs); err != nil {
		return err
	}
	if network == "ptp" {
		err = c.UsePtp(ctx)
	}
	if err != nil {
		return err
	}
	return c.AwaitReady(ctx)
}

func down(ctx context.Context, c *cluster.Cluster) error {
	if err := c.Down(ctx); err != nil {
		return err
	}
	fmt.Println("nothing is left of cluster", c.Name)
	return nil
}
