// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed nodeconfig.yaml
var nodeConfig string

// NodeConfigFile is the node's NodeConfig, which birdd reads.
func (n *Node) NodeConfigFile() string { return filepath.Join(n.Dir, "etc/flock/nodeconfig.yaml") }

// SetNodeConfig writes the NodeConfig that birdd reads, with the node's pools as they are now.
func (n *Node) SetNodeConfig() error {
	var text bytes.Buffer
	tmpl := template.Must(template.New("nodeconfig").Parse(nodeConfig))
	if err := tmpl.Execute(&text, map[string]any{"Node": n, "RouterASN": RouterASN}); err != nil {
		return fmt.Errorf("render the NodeConfig of %s: %w", n.Name, err)
	}
	if err := os.WriteFile(n.NodeConfigFile(), text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the NodeConfig of %s: %w", n.Name, err)
	}
	return nil
}

// startRouting runs birdd and BIRD as the DaemonSet does: BIRD reads what birdd renders.
func (n *Node) startRouting(ctx context.Context) error {
	if err := n.SetNodeConfig(); err != nil {
		return err
	}
	config := filepath.Join(n.birdDir(), "bird.conf")
	if err := n.StartBirdd(); err != nil {
		return err
	}
	err := Within(ctx, startLimit, "birdd on "+n.Name+" has written bird.conf", func() error {
		if !n.Birdd.Running() {
			return fmt.Errorf("it ended: %s", n.Birdd.LastWords())
		}
		_, err := os.Stat(config)
		return err
	})
	if err != nil {
		return err
	}
	n.Bird, err = n.StartBird(ctx, config, filepath.Join(n.StateDir(), "bird.ctl"))
	return err
}

// StartBirdd starts birdd on the node, for the first time or again.
func (n *Node) StartBirdd() (err error) {
	source := []string{"--config", n.NodeConfigFile()}
	if n.Kubernetes != nil {
		source = n.Kubernetes.flags()
	}
	args := append([]string{"run", "--state-dir", n.StateDir(), "--bird-conf", filepath.Join(n.birdDir(), "bird.conf")}, source...)
	n.Birdd, err = n.Start(filepath.Join(n.Dir, "birdd.log"), filepath.Join(n.lab.bin, "birdd"), args...)
	return err
}

// BirddStatus returns what "birdd status" prints on the node.
func (n *Node) BirddStatus(ctx context.Context) (string, error) {
	command := n.birddStatus()
	return n.Run(ctx, command[0], command[1:]...)
}

// BirddStatusCommand returns that command for a shell outside the node.
func (n *Node) BirddStatusCommand() string {
	return "ip netns exec " + n.Netns.Name + " " + strings.Join(n.birddStatus(), " ")
}

func (n *Node) birddStatus() []string {
	return []string{filepath.Join(n.lab.bin, "birdd"), "status", "--state-dir", n.StateDir()}
}

// Processes returns the programs that run in the router and on the nodes.
func (l *Lab) Processes() []*Process {
	var all []*Process
	if l.Router.Bird != nil {
		all = append(all, l.Router.Bird.Process)
	}
	for _, n := range l.Nodes {
		if n.Ipamd != nil {
			all = append(all, n.Ipamd)
		}
		if n.Birdd != nil {
			all = append(all, n.Birdd)
		}
		if n.Bird != nil {
			all = append(all, n.Bird.Process)
		}
	}
	return all
}
