// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"os"
	"path/filepath"

	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
)

// Programs are what a cluster is made of, apart from the machine's containerd, runc and BIRD.
type Programs struct {
	// Kubernetes and Plugins are the folders of Kubernetes' programs and of the reference plugins.
	Kubernetes, Plugins string
	// Images are archives that every node gets: [PauseImage] and [PodImage].
	Images []string
}

// Build builds the programs where they are not up to date. The first time that takes minutes.
func Build(ctx context.Context) (p Programs, err error) {
	if p.Kubernetes, err = apiserver.BuildCluster(ctx); err != nil {
		return p, err
	}
	if p.Plugins, err = build.Reference(ctx); err != nil {
		return p, err
	}
	root, err := build.Root()
	if err != nil {
		return p, err
	}
	p.Images, err = buildImages(ctx, root, filepath.Join(root, "bin", "test"))
	return p, err
}

// writeKubectl puts another program in kubectl's place that runs it where the API server can be reached.
func (c *Cluster) writeKubectl() error {
	path := filepath.Join(c.Dir, "kubectl")
	text := "#!/bin/sh\nexec nsenter --net=" + c.control.Path() + " " + filepath.Join(c.bin(), "kubectl") + " --kubeconfig=" + c.Kubeconfig() + ` "$@"` + "\n"
	return os.WriteFile(path, []byte(text), 0o755)
}
