// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/birdconf"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/source"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakerconf"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakers"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/watch"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
)

func newCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "birdd",
		Short: "Keep a node's BGP speaker and summary routes as its NodeConfig says",
		Long: `birdd keeps a node's BGP speaker and summary routes as its NodeConfig says.

It tells the speaker its peers; it installs one route for each pool in the main table
and one in the announcement table, which the speaker announces. When birdd stops
everything stays as it is. The speaker is a process of its own: BIRD, that "birdd bird"
or somebody else runs, whose configuration birdd renders, has checked and loads; or an
extension, that "birdd speaker" runs.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(newRun(), newRender(), newStatus(), newBootstrap(), newBird(), newSpeaker())
	return c
}

// defaultBirdConf is the file that birdd renders and BIRD reads.
const defaultBirdConf = "/etc/flock/bird/bird.conf"

// tableFlag adds the flag of the announcement table.
func tableFlag(c *cobra.Command, table *uint32) {
	c.Flags().Uint32Var(table, "table", rtnl.TableAnnounce, "kernel table that holds what to announce")
}

func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "config", "/etc/flock/nodeconfig.yaml", "file with the NodeConfig")
}

func stateDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "state-dir", store.DefaultDir, "folder of flock's sockets and store; BIRD's control socket is bird.ctl in it")
}

func passwordDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "password-dir", "", "folder with the passwords that passwordSecretRef names: one folder a Secret, one file a key, closed to everybody else")
}

// checkTable refuses the tables that the kernel forwards by: their routes would all be announced.
func checkTable(table uint32) error {
	if table == 0 || table >= unix.RT_TABLE_DEFAULT && table <= unix.RT_TABLE_LOCAL {
		return fmt.Errorf("--table %d is one that the kernel forwards by: take one that no rule looks up", table)
	}
	return nil
}

func newRender() *cobra.Command {
	var file, passwords string
	var table uint32
	c := &cobra.Command{
		Use:   "render",
		Short: "Print the bird.conf of a NodeConfig, passwords included",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkTable(table); err != nil {
				return err
			}
			config, err := source.Read(file)
			if err != nil {
				return err
			}
			own, err := ownAddresses()
			if err != nil {
				return err
			}
			secrets, errs := password.Dir(passwords).ReadAll(c.Context(), config)
			for peer, err := range errs {
				fmt.Fprintf(c.ErrOrStderr(), "birdd: peer %s is left out: %v\n", peer, err)
			}
			conf, err := birdconf.Render(speakerconf.Make(speakerconf.Input{Config: config, Table: table, Own: own, Passwords: secrets}))
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(conf)
			return err
		},
	}
	configFlag(c, &file)
	passwordDirFlag(c, &passwords)
	tableFlag(c, &table)
	return c
}

func ownAddresses() ([]netip.Addr, error) {
	h, err := rtnl.Open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return watch.Addresses(h)
}

func newStatus() *cobra.Command {
	var stateDir, output string
	var table uint32
	c := &cobra.Command{
		Use:   "status",
		Short: "Show sessions, summaries and announced addresses, whether birdd runs or not",
		Long: `status asks the speaker for its sessions and the kernel for summaries and announced
addresses, and reads from the store which pods have these. It shows what birdd run
could not get right. It needs neither the API server nor birdd run.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q is neither table nor json", output)
			}
			report, err := collect(c.Context(), stateDir, table)
			if err != nil {
				return err
			}
			if err := report.AskStore(stateDir); err != nil {
				fmt.Fprintln(c.ErrOrStderr(), "birdd: which pods have the addresses is not known:", err)
			}
			if output == "json" {
				return report.WriteJSON(c.OutOrStdout())
			}
			return report.WriteTable(c.OutOrStdout())
		},
	}
	stateDirFlag(c, &stateDir)
	tableFlag(c, &table)
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

// collect asks the speaker that birdd run noted last.
func collect(ctx context.Context, stateDir string, table uint32) (*status.Report, error) {
	all := speakers.New(stateDir, bird.New(bird.Options{Socket: bird.Socket(stateDir)}), nil)
	defer all.Close()
	name, err := all.Noted()
	if err != nil {
		return nil, err
	}
	asked := status.Asked{Name: name}
	asked.Speaker, asked.Err = all.Get(name)
	return status.Collect(ctx, asked, stateDir, table)
}

func newBootstrap() *cobra.Command {
	return &cobra.Command{
		Use:   "bootstrap",
		Short: "Print a bird.conf for BIRD to start with before birdd has rendered one",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(birdconf.Bootstrap)
			return err
		},
	}
}
