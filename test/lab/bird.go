// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Bird is a BIRD that runs inside a namespace, with a control socket and a log of its own.
type Bird struct {
	*Process
	Socket string
	netns  *Netns
	config string
}

// startLimit bounds how long a program may take to start on a busy machine.
const startLimit = 15 * time.Second

// StartBird starts BIRD inside the namespace with the configuration file; socket is where its control
// socket goes, and its log is bird.log beside the configuration. It returns once BIRD answers.
func (n *Netns) StartBird(ctx context.Context, config, socket string, flags ...string) (*Bird, error) {
	b := &Bird{Socket: socket, netns: n, config: config}
	return b, b.Restart(ctx, flags...)
}

// Restart starts BIRD again after it has ended; flags are added to its command line ("-R").
func (b *Bird) Restart(ctx context.Context, flags ...string) error {
	args := append([]string{"-f", "-c", b.config, "-s", b.Socket}, flags...)
	process, err := b.netns.Start(filepath.Join(filepath.Dir(b.config), "bird.log"), "bird", args...)
	if err != nil {
		return err
	}
	b.Process = process
	return Within(ctx, startLimit, "BIRD in "+b.netns.Name+" answers", func() error {
		if !process.Running() {
			return fmt.Errorf("it ended: %s", process.LastWords())
		}
		_, err := b.Ask(ctx, "show status")
		return err
	})
}

// Ask sends BIRD one command and returns its answer, without the greeting.
func (b *Bird) Ask(ctx context.Context, command string) (string, error) {
	args := append([]string{"-s", b.Socket}, strings.Fields(command)...)
	out, err := exec.CommandContext(ctx, "birdc", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask BIRD in %s to %s: %w: %s", b.netns.Name, command, err, out)
	}
	_, answer, _ := strings.Cut(string(out), "ready.\n")
	return answer, nil
}

// AwaitEstablished waits until count BGP sessions are up.
func (b *Bird) AwaitEstablished(ctx context.Context, count int) error {
	return Within(ctx, 30*time.Second, fmt.Sprintf("%d BGP sessions of %s are up", count, b.netns.Name), func() error {
		protocols, err := b.Ask(ctx, "show protocols")
		if err != nil {
			return err
		}
		if up := strings.Count(protocols, "Established"); up != count {
			return fmt.Errorf("%d are:\n%s", up, protocols)
		}
		return nil
	})
}
