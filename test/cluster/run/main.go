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

// command is the command line.
type command struct {
	cluster cluster.Options
	release cluster.Release
	network string
}

func main() {
	c := command{cluster: cluster.Options{Log: os.Stdout}, release: cluster.Release{HostPorts: true}}
	flag.StringVar(&c.cluster.Name, "name", "flock-cluster", "start of the names of the cluster's namespaces and cgroups")
	flag.StringVar(&c.cluster.Dir, "dir", "/var/tmp/flock-cluster", "folder of its state")
	flag.IntVar(&c.cluster.Nodes, "nodes", 2, "how many nodes it has")
	flag.StringVar(&c.network, "network", "flock", "what attaches pods: flock, or ptp, the reference plugin")
	flag.StringVar(&c.release.Images, "images", "bin/image", "folder of flock's image archives, as make image makes them")
	flag.StringVar(&c.release.Base, "base", "deploy/base", "folder of flock's manifests")
	flag.Func("component", "folder of a component that changes the manifests, such as deploy/components/gobgp; may be repeated", func(folder string) error {
		c.release.Components = append(c.release.Components, folder)
		return nil
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func (c command) run(ctx context.Context, verb string) error {
	if os.Geteuid() != 0 {
		return errors.New("making network namespaces takes root: run it with sudo")
	}
	of, err := cluster.New(c.cluster)
	if err != nil {
		return err
	}
	switch verb {
	case "up":
		return c.up(ctx, of)
	case "down":
		return down(ctx, of)
	}
	return fmt.Errorf("say up or down, not %q", verb)
}

// up brings up what is not up, and gives it the network as it is now.
func (c command) up(ctx context.Context, of *cluster.Cluster) error {
	if err := bringUp(ctx, of); err != nil {
		return err
	}
	if err := c.attach(ctx, of); err != nil {
		return err
	}
	of.Say("network %s: installed", c.network)
	if err := of.AwaitReady(ctx); err != nil {
		return err
	}
	of.Say("nodes: Ready")
	return explain(of)
}

func bringUp(ctx context.Context, of *cluster.Cluster) error {
	if of.Complete() {
		of.Say("cluster %s is up", of.Name)
		return nil
	}
	if of.Exists() {
		return fmt.Errorf("%s is of a cluster that did not come up whole: take it down first (make cluster-down)", of.Dir)
	}
	programs, err := cluster.Build(ctx)
	if err != nil {
		return err
	}
	of.Say("programs: built")
	return of.Up(ctx, programs)
}

// attach gives the nodes the network.
func (c command) attach(ctx context.Context, of *cluster.Cluster) error {
	if err := of.ForgetPtp(ctx); err != nil {
		return err
	}
	switch c.network {
	case "flock":
		return of.InstallFlock(ctx, c.release)
	case "ptp":
		return of.UsePtp(ctx, cluster.BeforeFlock, true)
	}
	return fmt.Errorf("use network %s: say flock or ptp", c.network)
}

func down(ctx context.Context, of *cluster.Cluster) error {
	if err := of.Down(ctx); err != nil {
		return err
	}
	fmt.Printf("nothing is left of cluster %s: no process, cgroup, network namespace, mount or file\n", of.Name)
	return nil
}
