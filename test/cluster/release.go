// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"flock.fritzlab.net/flock/test/build"
)

// BuildRelease builds flock as it is now, with the mark in each program: two marks make two releases that differ in
// nothing else.
func BuildRelease(ctx context.Context, mark string) (Release, error) {
	root, err := build.Root()
	if err != nil {
		return Release{}, err
	}
	dir := filepath.Join(root, "bin", "release", mark)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Release{}, fmt.Errorf("build release %s: %w", mark, err)
	}
	programs := append([]string{"build", "-trimpath", "-ldflags=-s -w -buildid=" + mark, "-o", dir + "/"}, build.Programs...)
	images := filepath.Join(dir, "image")
	for _, args := range [][]string{programs, {"run", "./deploy/image", "-bin", dir, "-out", images}} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return Release{}, fmt.Errorf("build release %s: %w\n%s", mark, err, out)
		}
	}
	return Release{Images: images, Base: filepath.Join(root, "deploy", "base"), HostPorts: true}, nil
}
