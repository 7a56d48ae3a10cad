// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/daemon"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/internal/kube"
)

// runFlags say where the NodeConfig is: in a file, or with the API server.
type runFlags struct {
	config, passwords             string
	node, kubeconfig, secretSpace string
	unavailableAfter              time.Duration
}

func newRun() *cobra.Command {
	var o daemon.Options
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Follow the NodeConfig until stopped",
		Long: `run follows the NodeConfig until it is stopped, which leaves routes and sessions as
they are.

In Kubernetes, that is with --node-name, it watches the NodeConfig of that name, the
node's pods and each Secret that a peer names. It announces anycast addresses while
their pods are ready, publishes sessions and conditions in the NodeConfig's status
and sets the Node's condition NetworkUnavailable. While the API server is away
everything stays as it is.

Without Kubernetes, that is with --config, it follows a file.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkTable(o.Table); err != nil {
				return err
			}
			o.Log = slog.New(slog.NewJSONHandler(c.OutOrStdout(), nil))
			if err := f.apply(&o, c.Flags().Changed("config"), c.Flags().Changed("node-name")); err != nil {
				return err
			}
			return daemon.Run(c.Context(), o)
		},
	}
	f.add(c)
	stateDirFlag(c, &o.StateDir)
	tableFlag(c, &o.Table)
	c.Flags().StringVar(&o.BirdConf, "bird-conf", defaultBirdConf, "BIRD's configuration file, as birdd and BIRD see it; made if it is missing; empty where birdd is to leave BIRD alone, as where the speaker is an extension, or none of birdd's")
	c.Flags().DurationVar(&o.Patience, "patience", 2*time.Minute, "how long a new configuration may be without a session, where there was one before, until it is undone")
	c.Flags().StringVar(&o.Listen, "listen", "", "address to serve /healthz, /readyz and /metrics on, such as 127.0.0.1:7273; empty for none")
	return c
}

func (f *runFlags) add(c *cobra.Command) {
	configFlag(c, &f.config)
	passwordDirFlag(c, &f.passwords)
	c.Flags().StringVar(&f.node, "node-name", os.Getenv("NODE_NAME"), "the node in Kubernetes, whose NodeConfig has the same name; $NODE_NAME unless given; excludes --config")
	c.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "how to reach the API server; empty inside a pod")
	c.Flags().StringVar(&f.secretSpace, "secret-namespace", cmp.Or(os.Getenv("POD_NAMESPACE"), "kube-system"), "namespace of the Secrets that passwordSecretRef names; $POD_NAMESPACE unless given")
	c.Flags().DurationVar(&f.unavailableAfter, "unavailable-after", 30*time.Second, "how long a node's pools may be announced to nobody, where they were, until the Node is NetworkUnavailable; routers keep the routes of a speaker that starts again for longer")
}

// apply fills in where the NodeConfig is. A file that is named wins over a node's name in the environment.
func (f *runFlags) apply(o *daemon.Options, configGiven, nodeGiven bool) error {
	if configGiven && nodeGiven {
		return errors.New("--config and --node-name exclude each other: the NodeConfig is a file's or the API server's")
	}
	if configGiven || f.node == "" {
		o.File = &daemon.File{NodeConfig: f.config, Passwords: password.Dir(f.passwords)}
		return nil
	}
	kube.LogTo(o.Log)
	client, err := kube.Connect(f.kubeconfig, "flock-birdd/"+f.node)
	if err != nil {
		return err
	}
	o.Cluster = &daemon.Cluster{Client: client, Node: f.node, SecretNamespace: f.secretSpace, UnavailableAfter: f.unavailableAfter}
	return nil
}
