// SPDX-License-Identifier: Apache-2.0

// Command flock-installer puts flock's plugins and conflist on a node.
package main

import (
	"os"

	"flock.fritzlab.net/flock/installer"
)

func main() {
	if err := installer.Command().Execute(); err != nil {
		os.Exit(1)
	}
}
