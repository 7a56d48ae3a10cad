// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakers"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// speakerGrace is how long a speaker may take to end its sessions and itself.
const speakerGrace = 5 * time.Second

func newSpeaker() *cobra.Command {
	var dir extension.Dir
	var stateDir string
	c := &cobra.Command{
		Use:   "speaker NAME",
		Short: "Run a BGP speaker that is an extension, in the place of BIRD",
		Long: `speaker runs the extension speaker-NAME, and starts it again when it ends or answers
no more. It speaks to nobody before "birdd run" tells it to, on a node whose NodeConfig
has NAME as spec.bgp.speaker; birdd run finds it by a record in the state folder.

Stopped by SIGTERM, the speaker leaves as for a graceful restart: routers that support it
keep the node's routes for two minutes, and the kernel keeps those that routers brought.
Killed, it leaves the speaker running, and takes it over when it is started again.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := superviseSpeaker(c, args[0], dir, stateDir)
			if err != nil {
				return err
			}
			return s.Run(c.Context())
		},
	}
	c.Flags().StringVar(&dir.Path, "extensions", extension.DefaultDir, "folder with the extensions; it and they must be root's alone to write")
	stateDirFlag(c, &stateDir)
	return c
}

func superviseSpeaker(c *cobra.Command, name string, dir extension.Dir, stateDir string) (*extension.Supervisor, error) {
	if name == v1alpha1.SpeakerBIRD {
		return nil, fmt.Errorf("run the speaker %s: it is no extension: use birdd bird", name)
	}
	if err := extension.CheckName(name); err != nil {
		return nil, fmt.Errorf("run the speaker: %w", err)
	}
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	return extension.NewSupervisor(extension.Options{
		Kind: speakers.Kind, Name: name, Dir: dir, Folder: stateDir, Outlive: true, Grace: speakerGrace,
		Env: []string{speaker.StateDirEnv + "=" + stateDir},
		Stop: func(ctx context.Context, client any) error {
			return client.(speaker.Speaker).Stop(ctx, speaker.StopGraceful)
		},
		Log: slog.New(slog.NewJSONHandler(c.OutOrStdout(), nil)),
	}), nil
}
