// SPDX-License-Identifier: Apache-2.0

// Command build makes what package apiserver starts, where it is not there yet, and prints its folder. Run before
// the tests it keeps those minutes out of their time limit.
package main

import (
	"context"
	"fmt"
	"os"

	"flock.fritzlab.net/flock/test/apiserver"
)

func main() {
	dir, err := apiserver.Build(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
