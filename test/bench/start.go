// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"flock.fritzlab.net/flock/conflist"
)

const (
	baseline = "baseline: skel + netlink"
	empty    = "empty Go program"
)

// measureStarts runs each plugin for VERSION, which costs hardly more than its start.
func (b *bench) measureStarts(ctx context.Context) error {
	programs := map[string]string{
		baseline: filepath.Join(b.extra, "baseline"),
		empty:    filepath.Join(b.extra, "empty"),
	}
	order := []string{empty, baseline}
	for _, stage := range conflist.Stages {
		programs[stage] = filepath.Join(b.flock, stage)
		order = append(order, stage)
	}
	for _, name := range order {
		info, err := os.Stat(programs[name])
		if err != nil {
			return err
		}
		b.report.size(name, info.Size())
	}
	for round := range b.Starts {
		for i := range order {
			name := order[(round+i)%len(order)]
			took, err := startOnce(ctx, programs[name])
			if err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
			b.report.note(key{Subject: name, Parallel: 1, Verb: "start"}, took)
		}
	}
	return nil
}

func startOnce(ctx context.Context, path string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = append(os.Environ(), "CNI_COMMAND=VERSION")
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.0.0"}`)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, &out)
	}
	return time.Since(start), err
}
