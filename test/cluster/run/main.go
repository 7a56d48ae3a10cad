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
	images := flag.String("images", "bin/image", "folder of flock's image archives, as make image makes them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, flag.Arg(0), *network, *images, cluster.Options{Name: *name, Dir: *dir, Nodes: *nodes, Log: os.Stdout})
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command, network, images string, o cluster.Options) error {
	if os.Geteuid() != 0 {
		return errors.New("making network namespaces takes root: run it with sudo")
	}
	c, err := cluster.New(o)
	if err != nil {
		return err
	}
	switch command {
	case "up":
		return up(ctx, c, network, images)
	case "down":
		return down(ctx, c)
	}
	return fmt.Errorf("say up or down, not %q", command)
}

// up brings up what is not up, and installs flock as it is now.
func up(ctx context.Context, c *cluster.Cluster, network, images string) error {
	if c.Exists() && !c.Complete() {
		return fmt.Errorf("%s is of a cluster that did not come up whole: take it down first (make cluster-down)", c.Dir)
	}
	if c.Complete() {
		c.Say("cluster %s is up", c.Name)
	} else {
		programs, err := cluster.Build(ctx)
		if err != nil {
			return err
		}
		c.Say("programs: built")
		if err := c.Up(ctx, programs); err != nil {
			return err
		}
	}
	err := c.ForgetPtp(ctx)
	if err != nil {
		return err
	}
	switch network {
	case "flock":
		err = c.InstallFlock(ctx, cluster.Release{Images: images, Base: "deploy/base"})
	case "ptp":
		err = c.UsePtp(ctx, cluster.BeforeFlock, true)
	default:
		err = fmt.Errorf("use network %s: say flock or ptp", network)
	}
	if err != nil {
		return err
	}
	c.Say("network %s: installed", network)
	if err := c.AwaitReady(ctx); err != nil {
		return err
	}
	c.Say("nodes: Ready")
	return explain(c)
}

func down(ctx context.Context, c *cluster.Cluster) error {
	if err := c.Down(ctx); err != nil {
		return err
	}
	fmt.Println("nothing is left of cluster", c.Name)
	return nil
}
