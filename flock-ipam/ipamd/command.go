// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/daemon"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/listing"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/store"
)

func newCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ipamd",
		Short: "Give flock-ipam the node's pools, and give back the addresses of the dead",
		Long: `ipamd gives flock-ipam the node's pools, and gives back the addresses of the dead.

It writes node.json from the NodeConfig, and compares the store of allocations
with the network namespaces, links and routes of the node. flock-ipam works
without it: with the pools of the last node.json, and with what runtimes tell it
of pods that are gone.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(newRun(), newAllocations())
	return c
}

func stateDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "state-dir", store.DefaultDir, "folder of the store of allocations")
}

func newRun() *cobra.Command {
	var o daemon.Options
	c := &cobra.Command{
		Use:   "run",
		Short: "Keep node.json and the store until stopped",
		Long: `Keep node.json and the store until stopped.

node.json is written when the NodeConfig's file changes. While that file is
missing or wrong, the last node.json stays, and /readyz says what is wrong.

At the start and then once every interval the store is compared with the node.
An attachment is dead when its network namespace is gone and no link of flock's
names it. Two comparisons in a row must find it dead; then its addresses are
released and begin to cool down, whether it was ever finished or not. What the
stages noted of it goes too, except where its routes are left for a DEL to
remove. An address of a pool that is in use and not in the store is taken into
it. Nothing is released while anything could not be read completely.

Run it in the host's network namespace and where the paths of network namespaces
(/run/netns) are those of the container runtime.

Logs are JSON lines on stdout.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Log = slog.New(slog.NewJSONHandler(c.OutOrStdout(), nil))
			return daemon.Run(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.ConfigFile, "config", "/etc/flock/nodeconfig.yaml", "file with the NodeConfig; empty to leave node.json to somebody else")
	c.Flags().StringVar(&o.NodeFile, "node-file", nodefile.DefaultPath, "file with the pools that flock-ipam reads")
	stateDirFlag(c, &o.StateDir)
	c.Flags().DurationVar(&o.Interval, "interval", 30*time.Second, "time from one comparison to the next")
	c.Flags().StringVar(&o.Listen, "listen", "", "address to serve /healthz and /readyz on, such as 127.0.0.1:7274; empty for none")
	return c
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
