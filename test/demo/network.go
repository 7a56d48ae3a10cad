// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"flock.fritzlab.net/flock/conflist"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// steps are the demo.
var steps = []step{
	{title: "Build flock's programs", run: buildPrograms,
		look: "the compiler's messages above"},
	{title: "Build the network", run: buildNetwork,
		look: "the kernel's log (dmesg); it needs veth and network namespaces"},
	{title: "Install flock on both nodes by flock-installer", run: install,
		look: "the installer's message above; \"make build\" makes the programs that it installs"},
	{title: "Start BIRD in all three and birdd on the nodes, wait for BGP", run: startRouting,
		look: "bird.log and birdd.log of the nodes and the router, and \"birdc -s …/bird.ctl show protocols all\""},
	{title: "Attach three pods to each node", run: attachPods,
		look: "the CNI error above: the README explains every code"},
	{title: "Ping: on one node, across nodes, from the router", run: pingAll,
		look: "\"ip -6 route\" and \"ip neigh\" on the node that the ping starts from, then on the one that it goes to"},
	{title: "Look into the router's BGP table: summaries, and no pod's route", run: showTable,
		look: "\"ip route show table 7273\" on the nodes: BIRD announces what is in it"},
	{title: "Give a pod a fixed address outside the pools: it is announced alone", run: fixedAddress,
		look: "\"ip -6 route show table 7273\" on node1, and BIRD's \"show route all\""},
	{title: "Put one anycast address on a pod of each node: the router uses both", run: anycast,
		look: "\"ip -6 route show table 7273\" on the nodes, and \"show route\" of the router's BIRD"},
	{title: "Delete one of the two: its node withdraws, the other one serves on", run: withdraw,
		look: "\"ip -6 route show table 7273\" on node1, and \"show route\" of the router's BIRD"},
	{title: "Delete every pod: nothing is left on the nodes", run: detachAll, tearsDown: true,
		look: "the lines above: + is what is left, - what is missing"},
	{title: "Tear the network down: nothing is left on this machine", run: tearDown, tearsDown: true,
		look: "\"ip netns list\"; \"go run ./test/demo -clean\" removes the demo's namespaces"},
}

func buildPrograms(ctx context.Context, d *demo) (err error) {
	if d.bin == "" {
		d.bin, err = build.Flock(ctx)
	} else {
		d.bin, err = filepath.Abs(d.bin)
	}
	if err != nil {
		return err
	}
	for _, name := range conflist.Stages {
		info, err := os.Stat(filepath.Join(d.bin, name))
		if err != nil {
			return err
		}
		d.say("%-11s %.1f MB", name, float64(info.Size())/1e6)
	}
	return nil
}

func buildNetwork(_ context.Context, d *demo) (err error) {
	d.lab, err = lab.New(lab.Options{Name: fmt.Sprintf("%s-%d", d.name, os.Getpid()), Nodes: 2, Bin: d.bin})
	if err != nil {
		return err
	}
	d.services = map[*lab.Pod]*lab.Service{}
	d.say("namespaces %s, %s, %s", d.lab.Router.Netns.Name, d.lab.Nodes[0].Netns.Name, d.lab.Nodes[1].Netns.Name)
	d.say("files below %s", d.lab.Dir)
	return nil
}

func install(ctx context.Context, d *demo) error {
	for _, n := range d.lab.Nodes {
		if err := n.Install(ctx, "--anycast", "immediate"); err != nil {
			return err
		}
	}
	conflist, err := os.ReadFile(d.lab.Nodes[0].Conflist())
	if err != nil {
		return err
	}
	d.show("cat "+d.lab.Nodes[0].Conflist(), string(conflist))
	return nil
}

func startRouting(ctx context.Context, d *demo) error {
	if err := d.lab.StartRouting(ctx); err != nil {
		return err
	}
	for _, n := range d.lab.Nodes {
		status, err := n.BirddStatus(ctx)
		if err != nil {
			return err
		}
		d.show("birdd status    # on "+n.Name, status)
	}
	d.before = map[*lab.Node][]string{}
	for _, n := range d.lab.Nodes {
		state, err := n.State(ctx)
		if err != nil {
			return err
		}
		d.before[n] = state
	}
	return nil
}

func tearDown(ctx context.Context, d *demo) error {
	dir, name := d.lab.Dir, fmt.Sprintf("%s-%d", d.name, os.Getpid())
	processes := d.lab.Processes()
	if err := d.lab.Close(); err != nil {
		return err
	}
	for _, p := range processes {
		// One that was killed is there until somebody has waited for it.
		if err := lab.Within(ctx, withinRouter, fmt.Sprintf("process %d has ended", p.PID()), func() error {
			if p.Running() {
				return errors.New("it still runs")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	left, err := lab.Namespaces(name)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("namespaces %v are left", left)
	}
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("folder %s is left", dir)
	}
	d.say("no process, no namespace, no file: %d processes ended, \"ip netns list\" shows none of the demo's", len(processes))
	return nil
}
