// SPDX-License-Identifier: Apache-2.0

package allocatortest

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// Program returns an [Options.Start] that runs the allocator's executable as ipamd does. Its environment is that of the
// test and what is given on top, as "KEY=value"; what it writes to standard error is the test's.
func Program(path string, env ...string) func() (allocator.Allocator, func(), error) {
	return func() (allocator.Allocator, func(), error) {
		folder, err := os.MkdirTemp("", "allocatortest-") // one that is killed leaves its socket behind
		if err != nil {
			return nil, nil, fmt.Errorf("start %s: %w", path, err)
		}
		cmd := exec.Command(path)
		cmd.Env = append(append(os.Environ(), "TMPDIR="+folder), env...)
		// With a test that dies goes what it has started.
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		client := plugin.NewClient(&plugin.ClientConfig{
			HandshakeConfig: allocator.Handshake, VersionedPlugins: allocator.VersionedPlugins,
			Cmd: cmd, Stderr: os.Stderr, AutoMTLS: true, AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
			Logger: hclog.NewNullLogger(), SkipHostEnv: true, // it would come after, and win
		})
		kill := func() {
			if cmd.Process != nil {
				cmd.Process.Kill()
			}
			client.Kill() // which waits for its end
			os.RemoveAll(folder)
		}
		a, err := dispense(client)
		if err != nil {
			kill()
			return nil, nil, fmt.Errorf("start %s: %w", path, err)
		}
		return a, kill, nil
	}
}

func dispense(client *plugin.Client) (allocator.Allocator, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	a, err := protocol.Dispense(allocator.Kind)
	if err != nil {
		return nil, err
	}
	return a.(allocator.Allocator), nil
}
