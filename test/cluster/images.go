// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"flock.fritzlab.net/flock/deploy/image/oci"
)

// The images that every node has. Both are the program testpod: by itself it does nothing, which is what a pod's
// sandbox needs, and in PodImage it serves.
const (
	PauseImage = "localhost/flock-test/pause:1"
	PodImage   = "localhost/flock-test/pod:1"
)

// buildImages builds the archives of the images in dir.
func buildImages(ctx context.Context, root, dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("build the test images: %w", err)
	}
	program := filepath.Join(dir, "testpod")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./test/cluster/testpod")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build testpod: %w\n%s", err, out)
	}
	files := oci.Tree{}
	if err := files.Copy("testpod", program); err != nil {
		return nil, fmt.Errorf("build the test images: %w", err)
	}
	var archives []string
	for name, command := range map[string]string{PauseImage: "pause", PodImage: "serve"} {
		image := oci.Image{Name: name, Arch: runtime.GOARCH, Command: []string{"/testpod", command}, Files: files}
		archive := filepath.Join(dir, command+".tar")
		if _, err := image.Write(archive); err != nil {
			return nil, fmt.Errorf("write image %s: %w", name, err)
		}
		archives = append(archives, archive)
	}
	return archives, nil
}
