// SPDX-License-Identifier: Apache-2.0

// Command libcni prints what the libcni of its go.mod reads from the conflist on stdin.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/containernetworking/cni/libcni"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	list, err := libcni.ConfListFromBytes(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(list.Name, list.CNIVersion)
	for _, p := range list.Plugins {
		fmt.Println(p.Network.Type, p.Network.Capabilities)
	}
}
