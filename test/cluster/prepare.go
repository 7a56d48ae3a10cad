// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed files
var files embed.FS

var templates = template.Must(template.ParseFS(files, "files/*"))

// render writes a file from the template of that name.
func render(path, name string, values any) error {
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, name, values); err != nil {
		return fmt.Errorf("render %s: %w", path, err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("render %s: %w", path, err)
	}
	return nil
}

// bin is the folder of the cluster's programs.
func (c *Cluster) bin() string { return filepath.Join(c.Dir, "bin") }

// prepare makes the files that are there before anything runs.
func (c *Cluster) prepare(p Programs) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	if err := copyFolder(c.bin(), p.Kubernetes); err != nil {
		return err
	}
	if err := c.writeKubectl(); err != nil {
		return err
	}
	if err := c.makeKeys(); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := n.prepare(p); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the node's configuration files and gives it the reference plugins.
func (n *Node) prepare(p Programs) error {
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return err
	}
	values := map[string]string{
		"Name": n.Name, "Dir": n.Dir, "Cgroup": string(n.group), "Pause": PauseImage,
		"PKI": n.cluster.pki(""), "DNS": dnsAddress, "ClusterCIDR": podCIDRs,
	}
	for _, name := range []string{"containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "resolv.conf"} {
		if err := render(n.file(name), name, values); err != nil {
			return err
		}
	}
	return copyFolder(n.file("opt/cni/bin"), p.Plugins)
}

// copyFolder copies the files of a folder, and links to them within it.
func copyFolder(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}
