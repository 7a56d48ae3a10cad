// SPDX-License-Identifier: Apache-2.0

// Command birdd keeps a node's BGP speaker and summary routes as its NodeConfig says, and shows how the node
// announces. See docs/bird.md.
//
// "birdd run" is internal/daemon: a source brings the NodeConfig, summary writes the pools' routes, anycast those of ready
// pods, and watch tells what the kernel has changed meanwhile. speakerconf makes of the NodeConfig, with passwords of files
// (password) or Secrets (secret), what the node's speaker is told. Which that is the NodeConfig says, and speakers reaches
// it: BIRD, which bird brings its configuration by birdconf and reload, or an extension, over plugins/speaker. What comes of
// it all status looks at, verdict judges, and NodeConfig.status, metrics and availability, the Node's condition, show.
//
// The speaker is a process of its own. "birdd bird" is internal/birdproc; "birdd speaker" runs an extension by
// internal/extension.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer cancel()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25) // a node's memory is worth more than the little time that this takes
	}
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "birdd:", err)
		os.Exit(1)
	}
}
