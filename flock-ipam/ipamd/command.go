// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/daemon"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/listing"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/store"
)

func newCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ipamd",
		Short: "Give flock-ipam the node's pools, and give back the addresses of the dead",
		Long: `ipamd gives flock-ipam the node's pools, and gives back the addresses of the dead.

It writes node.json from the NodeConfig, and compares the store of allocations
with the network namespaces, links and routes of the node. With Kubernetes it
also tells flock-ipam the annotations of pods where the container runtime does
not, and says in the NodeConfig's status how the pools are used. flock-ipam works
without it: with the pools of the last node.json, with the annotations that
runtimes hand over, and with what they tell of pods that are gone.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(newRun(), newAllocations())
	return c
}

func stateDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "state-dir", store.DefaultDir, "folder of the store of allocations")
}

const runHelp = `Keep node.json and the store until stopped.

With --node-name the NodeConfig is the API server's object of that name. Its
status tells how the pools are used; Events on pods tell why they get no address.
Annotations of the node's pods are answered at --socket. Where there is no
NodeConfig the last node.json stays; a node that never had one takes its pools
from the podCIDRs of its Node once it has waited --config-wait for a NodeConfig
(not with --pod-cidrs=false). While the API server is away, ipamd goes on with
what it knows.

Without, the NodeConfig is the file --config, and node.json follows it. While the
file is missing or wrong, the last node.json stays.

A pool of the NodeConfig may name an allocator other than random and sequential:
a program allocator-NAME in the folder --extensions, where it and every folder
above it belong to root and nobody else may write. ipamd runs it while pools name
it, and until it has nothing any more that pods of this node were given; it starts
it again, later each time, when it fails. flock-ipam gets the addresses of the pool
through --socket. What a pod's DEL has freed is released with the allocator within
milliseconds, or once ipamd and the allocator are back; what was given to a pod
that never came is, after two minutes. The program's environment has NODE_NAME,
KUBECONFIG, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT where ipamd has
them, and those variables of ipamd's that begin with its name in capitals, such
as STICKY_.

/readyz says what is wrong, /metrics counts; both are served at --listen. A second
ipamd ends there, before it takes anything from the first; one whose sockets were
removed or taken over ends too, to be started again.

At the start and then once every interval the store is compared with the node.
An attachment is dead when its network namespace is gone and no link of flock's
names it. Two comparisons in a row must find it dead; then its addresses are
released and begin to cool down, whether it was ever finished or not. What the
stages noted of it goes too, except where its routes are left for a DEL to
remove. One that was never finished and has neither link nor route is released
too when its pod is gone, though its namespace may be left. One whose namespace
is in a folder that is not here is kept, and the log tells of it; it is released
when its pod is gone, and with it flock-veth's link. An address of a pool that is
in use and not in the store is taken into it. Nothing is released while anything
else could not be read completely.

Run it as root, without any capability, in the host's network namespace and where
the paths of network namespaces (/run/netns) are those of the container runtime.
It writes below --state-dir, to --socket and to the folder of --node-file, and
nowhere else.

Logs are JSON lines on stdout.`

func newRun() *cobra.Command {
	var o daemon.Options
	var cluster daemon.Cluster
	c := &cobra.Command{
		Use:   "run",
		Short: "Keep node.json and the store until stopped",
		Long:  runHelp,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Cluster, err = choose(c.Flags(), cluster); err != nil {
				return err
			}
			if o.Cluster != nil {
				o.ConfigFile = ""
			}
			if o.Socket == "" {
				o.Socket = filepath.Join(o.StateDir, filepath.Base(lookup.DefaultSocket))
			}
			o.Log = slog.New(slog.NewJSONHandler(c.OutOrStdout(), nil))
			return daemon.Run(c.Context(), o)
		},
	}
	flags := c.Flags()
	flags.StringVar(&cluster.Node, "node-name", os.Getenv("NODE_NAME"), "name of the node, and of its NodeConfig, in Kubernetes (default $NODE_NAME)")
	flags.StringVar(&cluster.Kubeconfig, "kubeconfig", "", "access to the API server; empty for that of the pod that ipamd runs in")
	flags.StringVar(&o.Socket, "socket", "", "where flock-ipam asks for the annotations of pods, and for addresses that extensions give (default ipamd.sock in --state-dir)")
	flags.StringVar(&o.Extensions, "extensions", extension.DefaultDir, "folder of the programs allocator-NAME that pools name")
	flags.DurationVar(&cluster.ConfigWait, "config-wait", time.Minute, "how long after the start a NodeConfig may be expected to appear")
	flags.BoolVar(&cluster.PodCIDRs, "pod-cidrs", true, "take the pools from the Node's podCIDRs where there was never a NodeConfig")
	flags.StringVar(&o.ConfigFile, "config", "/etc/flock/nodeconfig.yaml", "file with the NodeConfig, without Kubernetes; empty to leave node.json to somebody else")
	flags.StringVar(&o.NodeFile, "node-file", nodefile.DefaultPath, "file with the pools that flock-ipam reads")
	stateDirFlag(c, &o.StateDir)
	flags.DurationVar(&o.Interval, "interval", 30*time.Second, "time from one comparison to the next")
	flags.StringVar(&o.Listen, "listen", "", "address to serve /healthz, /readyz and /metrics on, such as 127.0.0.1:7274; empty for none")
	return c
}

// choose returns the cluster, or nil for a node without. A node name of the environment gives way to --config.
func choose(flags *pflag.FlagSet, cluster daemon.Cluster) (*daemon.Cluster, error) {
	if flags.Changed("config") {
		if flags.Changed("node-name") {
			return nil, errors.New("--config and --node-name are both given: the one is for a node without Kubernetes, the other for one with it")
		}
		return nil, nil
	}
	if cluster.Node == "" {
		for _, name := range []string{"node-name", "kubeconfig", "config-wait", "pod-cidrs"} {
			if flags.Changed(name) {
				return nil, fmt.Errorf("--%s is given and no name of a node: set --node-name", name)
			}
		}
		return nil, nil
	}
	return &cluster, nil
}

func newAllocations() *cobra.Command {
	var stateDir, output string
	c := &cobra.Command{
		Use:   "allocations",
		Short: "Show who has which addresses, whether ipamd runs or not",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q is neither table nor json", output)
			}
			list, err := listing.Read(stateDir)
			if err != nil {
				return err
			}
			list.WriteWarnings(c.ErrOrStderr())
			if output == "json" {
				return list.WriteJSON(c.OutOrStdout())
			}
			return list.WriteTable(c.OutOrStdout(), time.Now())
		},
	}
	stateDirFlag(c, &stateDir)
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}
