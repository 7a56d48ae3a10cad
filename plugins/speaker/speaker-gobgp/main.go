// SPDX-License-Identifier: Apache-2.0

// Speaker-gobgp is a BGP speaker for birdd, with GoBGP in it: for nodes where nobody wants to run BIRD. birdd starts it
// where the NodeConfig says spec.bgp.speaker: gobgp; docs/gobgp.md tells how it differs from BIRD.
package main

import (
	"log/slog"
	"os"
	"strings"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/node"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: names}))
	speaker.Serve(node.New(log, os.Getenv(speaker.StateDirEnv)))
}

// names gives the attributes the names that go-plugin passes on by.
func names(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		a.Key = "@timestamp"
	case slog.LevelKey:
		return slog.String("@level", strings.ToLower(a.Value.String()))
	case slog.MessageKey:
		a.Key = "@message"
	}
	return a
}
