// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/birdproc"
)

func newBird() *cobra.Command {
	var o birdproc.Options
	c := &cobra.Command{
		Use:   "bird",
		Short: "Run BIRD so that it may be stopped and started again without a route being withdrawn",
		Long: `bird runs BIRD in the foreground, for a container that has nothing else in it. It waits
for bird.conf, which "birdd run" makes, and starts BIRD with -R where it has run since
the node booted. Stopped by SIGTERM, BIRD leaves as for a graceful restart: routers
that support it keep the node's routes for two minutes, and the kernel keeps BIRD's.

To have a node's routes withdrawn, take the peers out of its NodeConfig.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Output = c.ErrOrStderr()
			return birdproc.Run(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Program, "program", "bird", "BIRD's program")
	c.Flags().StringVar(&o.Conf, "bird-conf", defaultBirdConf, "BIRD's configuration file; its folder must exist")
	stateDirFlag(c, &o.StateDir)
	return c
}
