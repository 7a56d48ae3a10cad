// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("build the test images: %w", err)
	}
	var archives []string
	for name, command := range map[string][]string{PauseImage: {"/testpod", "pause"}, PodImage: {"/testpod", "serve"}} {
		archive := filepath.Join(dir, filepath.Base(name)+".tar")
		if err := writeImage(archive, name, command, content); err != nil {
			return nil, fmt.Errorf("build image %s: %w", name, err)
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// file is one of a tar.
type file struct {
	name    string
	mode    int64
	content []byte
}

// writeTar writes files that are the same whenever they are written.
func writeTar(w io.Writer, files ...file) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		if err := t.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))}); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	return t.Close()
}

// writeImage writes an image with the program as /testpod, in the format of "docker save".
func writeImage(path, name string, command []string, program []byte) (err error) {
	var layer bytes.Buffer
	if err := writeTar(&layer, file{"testpod", 0o755, program}); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Cmd": command, "Env": []string{"PATH=/"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return writeTar(out, file{"config.json", 0o644, config}, file{"layer.tar", 0o644, layer.Bytes()}, file{"manifest.json", 0o644, manifest})
}
