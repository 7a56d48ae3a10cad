// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"fmt"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

// trace appends one line a request to the file that FLOCK_LOG names, for debugging; nil when unset.
type trace struct {
	file   *os.File
	plugin string
	start  time.Time
}

func openTrace(plugin string) *trace {
	path := os.Getenv("FLOCK_LOG")
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: open FLOCK_LOG: %v\n", plugin, err)
		return nil
	}
	return &trace{file: file, plugin: plugin, start: time.Now()}
}

func (t *trace) done(err *types.Error) {
	if t == nil {
		return
	}
	outcome := "ok"
	if err != nil {
		outcome = fmt.Sprintf("error code=%d %q", err.Code, err.Error())
	}
	fmt.Fprintf(t.file, "%s %s %s container=%q ifname=%q netns=%q took=%s %s\n",
		t.start.Format(time.RFC3339Nano), t.plugin, os.Getenv("CNI_COMMAND"), os.Getenv("CNI_CONTAINERID"),
		os.Getenv("CNI_IFNAME"), os.Getenv("CNI_NETNS"), time.Since(t.start), outcome)
	t.file.Close()
}
