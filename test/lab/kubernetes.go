// SPDX-License-Identifier: Apache-2.0

package lab

import "path/filepath"

// Kubernetes is how a node's daemons reach the API server, and what the node is called there.
type Kubernetes struct {
	Kubeconfig, NodeName string
}

func (k *Kubernetes) flags() []string {
	return []string{"--kubeconfig", k.Kubeconfig, "--node-name", k.NodeName}
}

// StartIpamd starts ipamd on the node, for the first time or again, with more of its flags where wanted. The node's
// Kubernetes must be set.
func (n *Node) StartIpamd(flags ...string) (err error) {
	args := append([]string{"run", "--state-dir", n.StateDir(), "--node-file", n.NodeFile(),
		"--socket", filepath.Join(n.StateDir(), "ipamd.sock")}, n.Kubernetes.flags()...)
	n.Ipamd, err = n.Start(filepath.Join(n.Dir, "ipamd.log"), filepath.Join(n.lab.bin, "ipamd"), append(args, flags...)...)
	return err
}
