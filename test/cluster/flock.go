// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Release is flock in the form in which it is installed.
type Release struct {
	// Images is the folder of the image archives, as "make image" makes them.
	Images string
	// Base is the folder of the manifests, deploy/base, and Components are those of what changes them.
	Base       string
	Components []string
	// HostPorts has the installer put portmap behind flock's plugins.
	HostPorts bool
}

// InstallFlock loads the release's images into every node, applies its manifests and the nodes' NodeConfigs, and waits
// until flock runs on every node and the nodes are Ready. Again with another release it is an upgrade: the
// DaemonSet is rolled. With the same one it changes nothing.
func (c *Cluster) InstallFlock(ctx context.Context, r Release) error {
	tag, err := c.loadRelease(ctx, r)
	if err != nil {
		return fmt.Errorf("install flock: %w", err)
	}
	if err := c.applyFlock(ctx, r, tag); err != nil {
		return fmt.Errorf("install flock: %w", err)
	}
	if _, err := c.Kubectl(ctx, "rollout", "status", "--timeout=180s", "--namespace=flock-system", "daemonset/flock"); err != nil {
		return fmt.Errorf("install flock: %w", err)
	}
	return c.AwaitReady(ctx)
}

// loadRelease loads the images, and returns a tag that no other content has.
func (c *Cluster) loadRelease(ctx context.Context, r Release) (string, error) {
	sum := sha256.New()
	archives := map[string]string{}
	for _, name := range []string{"flock", "bird"} {
		archive, err := filepath.Abs(filepath.Join(r.Images, name+".tar")) // a node's working directory is another
		if err != nil {
			return "", err
		}
		content, err := os.ReadFile(archive)
		if err != nil {
			return "", err
		}
		sum.Write(content)
		archives["localhost/flock/"+name] = archive
	}
	tag := fmt.Sprintf("%.6x", sum.Sum(nil))
	return tag, c.eachNode(func(n *Node) error {
		for image, archive := range archives {
			if err := n.load(ctx, []string{archive}); err != nil {
				return err
			}
			if _, err := n.Run(ctx, "ctr", "--namespace", "k8s.io", "images", "tag", "--force", image+":dev", image+":"+tag); err != nil {
				return err
			}
		}
		return nil
	})
}

// kustomization is the folder of what is applied.
func (c *Cluster) kustomization() string { return filepath.Join(c.Dir, "flock") }

// writeKustomization writes what makes the release's manifests the cluster's. Kustomize wants relative paths.
func (c *Cluster) writeKustomization(r Release, tag string) error {
	dir := c.kustomization()
	var folders []string
	for _, folder := range append([]string{r.Base}, r.Components...) {
		folder, err := filepath.Abs(folder)
		if err == nil {
			folder, err = filepath.Rel(dir, folder)
		}
		if err != nil {
			return err
		}
		folders = append(folders, folder)
	}
	values := map[string]any{"Tag": tag, "Base": folders[0], "Components": strings.Join(folders[1:], ", "), "HostPorts": r.HostPorts}
	return errors.Join(os.MkdirAll(dir, 0o755), render(filepath.Join(dir, "kustomization.yaml"), "kustomization.yaml", values))
}

func (c *Cluster) applyFlock(ctx context.Context, r Release, tag string) error {
	configs := filepath.Join(c.Dir, "nodeconfigs.yaml")
	if err := errors.Join(
		c.writeKustomization(r, tag),
		render(configs, "nodeconfigs.yaml", map[string]any{"ASN": RouterASN, "Nodes": c.Nodes}),
	); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"apply", "-k", c.kustomization()},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/nodeconfigs.flock.fritzlab.net"},
		{"apply", "-f", configs},
	} {
		if _, err := c.Kubectl(ctx, command...); err != nil {
			return err
		}
	}
	return nil
}

// RemoveFlock deletes all that InstallFlock applied.
func (c *Cluster) RemoveFlock(ctx context.Context) error {
	if _, err := c.Kubectl(ctx, "delete", "--timeout=120s", "-k", c.kustomization()); err != nil {
		return fmt.Errorf("remove flock: %w", err)
	}
	return nil
}
