// SPDX-License-Identifier: Apache-2.0

// Command birdd keeps a node's BIRD and summary routes as its NodeConfig says, and shows how the node
// announces. See docs/bird.md.
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
