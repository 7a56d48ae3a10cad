// SPDX-License-Identifier: Apache-2.0

// Command allocator-sticky is an allocator for ipamd whose addresses stay with the pods of StatefulSets, on whichever node
// they run. It speaks with the API server as the pod does in which it runs, or as the kubeconfig file says that KUBECONFIG
// names.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/allocator/allocator-sticky/internal/sticky"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25) // as ipamd, for the node's memory
	}
	kube.LogTo(slog.New(slog.DiscardHandler)) // what fails is what a call returns
	a, err := sticky.Connect(os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "allocator-sticky:", err)
		os.Exit(1)
	}
	allocator.Serve(a)
}
