// SPDX-License-Identifier: Apache-2.0

package speakertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/lab"
)

// Program returns an [Options.Start] that runs the speaker's executable as birdd does. What it writes to standard error is in
// the folder's speaker.log.
func Program(path string) func(*lab.Netns, string) (speaker.Speaker, func(), error) {
	return func(node *lab.Netns, folder string) (speaker.Speaker, func(), error) {
		log, err := os.OpenFile(filepath.Join(folder, "speaker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, err
		}
		cmd := exec.Command("ip", "netns", "exec", node.Name, path)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + folder, speaker.StateDirEnv + "=" + folder}
		client := plugin.NewClient(&plugin.ClientConfig{
			HandshakeConfig: speaker.Handshake, VersionedPlugins: speaker.VersionedPlugins,
			Cmd: cmd, SkipHostEnv: true, Stderr: log, AutoMTLS: true, AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
			Logger: hclog.NewNullLogger(),
		})
		kill := func() {
			if cmd.Process != nil {
				cmd.Process.Kill()
			}
			client.Kill() // which waits for its end
			log.Close()
		}
		s, err := dispense(client)
		if err != nil {
			kill()
			return nil, nil, fmt.Errorf("start %s: %w", path, err)
		}
		return s, kill, nil
	}
}

func dispense(client *plugin.Client) (speaker.Speaker, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	s, err := protocol.Dispense(speaker.Kind)
	if err != nil {
		return nil, err
	}
	return s.(speaker.Speaker), nil
}
