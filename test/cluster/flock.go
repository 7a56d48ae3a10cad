// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Release is flock in the form in which it is installed: image archives as "make image" makes them, and the folder of the
// manifests, deploy/base.
type Release struct {
	Images, Base string
}

var releaseImages = []string{"flock", "bird"}

// InstallFlock loads the release's images into every node, applies its manifests and the nodes' NodeConfigs, and waits
// until flock runs on every node and the nodes are Ready. Again with another release it is an upgrade: the
// DaemonSet is rolled. With the same one it changes nothing.
func (c *Cluster) InstallFlock(ctx context.Context, r Release) error {
	for _, path := range []*string{&r.Images, &r.Base} { // a node's working directory is another
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("install flock: %w", err)
		}
		*path = absolute
	}
	tag, err := c.loadRelease(ctx, r)
	if err != nil {
		return fmt.Errorf("install flock: %w", err)
	}
	if err := c.applyFlock(ctx, r, tag); err != nil {
		return fmt.Errorf("install flock: %w", err)
	}
	if err := c.ForgetPtp(ctx); err != nil {
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
	for _, name := range releaseImages {
		archive, err := os.ReadFile(filepath.Join(r.Images, name+".tar"))
		if err != nil {
			return "", err
		}
		sum.Write(archive)
	}
	tag := fmt.Sprintf("%.6x", sum.Sum(nil))
	return tag, c.eachNode(func(n *Node) error {
		for _, name := range releaseImages {
			if err := n.load(ctx, []string{filepath.Join(r.Images, name+".tar")}); err != nil {
				return err
			}
			image := "localhost/flock/" + name + ":"
			if _, err := n.Run(ctx, "ctr", "--namespace", "k8s.io", "images", "tag", "--force", image+"dev", image+tag); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Cluster) applyFlock(ctx context.Context, r Release, tag string) error {
	dir := filepath.Join(c.Dir, "flock")
	base, err := filepath.Rel(dir, r.Base)
	if err != nil {
		return err
	}
	configs := filepath.Join(c.Dir, "nodeconfigs.yaml")
	if err := errors.Join(os.MkdirAll(dir, 0o755),
		render(filepath.Join(dir, "kustomization.yaml"), "kustomization.yaml", map[string]string{"Base": base, "Tag": tag}),
		render(configs, "nodeconfigs.yaml", map[string]any{"ASN": RouterASN, "Nodes": c.Nodes})); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"apply", "-k", dir},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/nodeconfigs.flock.fritzlab.net"},
		{"apply", "-f", configs},
	} {
		if _, err := c.Kubectl(ctx, command...); err != nil {
			return err
		}
	}
	return nil
}
