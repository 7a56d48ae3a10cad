// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// containerd is one of the test's own, in its own folders.
type containerd struct {
	*testing.T
	socket string
}

const settings = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "%[1]s/sock"
[ttrpc]
  address = "%[1]s/ttrpc"
`

func startContainerd(t *testing.T) containerd {
	t.Helper()
	dir, err := os.MkdirTemp("", "flt-image-") // a socket's path is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "config.toml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, settings, dir), 0o600))
	cmd := exec.Command("containerd", "--config", file)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	c := containerd{t, filepath.Join(dir, "sock")}
	must(t, lab.Within(t.Context(), 20*time.Second, "containerd answers", func() error {
		_, err := c.try("version")
		return err
	}))
	return c
}

func (c containerd) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"--address", c.socket}, args...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (c containerd) ctr(args ...string) string {
	c.Helper()
	out, err := c.try(args...)
	must(c.T, err)
	return out
}

// TestContainerd runs each program of the archives under the runtime that clusters use.
func TestContainerd(t *testing.T) {
	dir := makeImages(t)
	c := startContainerd(t)
	for _, file := range []string{"flock.tar", "bird.tar"} {
		c.ctr("images", "import", filepath.Join(dir, file))
	}
	const flock, bird = "localhost/flock/flock:test", "localhost/flock/bird:test"
	tests := []struct {
		image, want string
		command     []string
	}{
		{flock, "Usage", nil},
		{flock, "Usage", []string{"ipamd", "--help"}},
		{flock, "Usage", []string{"birdd", "--help"}},
		{flock, "01-flock.conflist", []string{"flock-installer", "install", "--bin-dir", "/run", "--conf-dir", "/run", "--rt-protos-dir=", "--rt-tables-dir=", "--record", "/run/x"}},
		{flock, "supportedVersions", []string{"flock-ipam"}},
		{flock, "supportedVersions", []string{"flock-veth"}},
		{flock, "supportedVersions", []string{"flock-route"}},
		{flock, "supportedVersions", []string{"flock-bird"}},
		{flock, "This binary is a plugin", []string{"/usr/libexec/flock/speaker-gobgp"}},
		{flock, "find the API server", []string{"/usr/libexec/flock/allocator-sticky"}},
		{bird, "Usage", nil},
		{bird, "BIRD version 2.", []string{"bird", "--version"}},
		{bird, "Unable to connect", []string{"birdc", "show", "status"}},
		{bird, "Unable to connect", []string{"birdcl", "show", "status"}},
	}
	for i, tt := range tests {
		args := []string{"run", "--rm", "--env", "CNI_COMMAND=VERSION", "--mount", "type=tmpfs,dst=/run", "--read-only", tt.image, fmt.Sprint("t", i)}
		out, _ := c.try(append(args, tt.command...)...)
		if !strings.Contains(out, tt.want) {
			t.Errorf("%s %q printed %q, want %q", tt.image, tt.command, out, tt.want)
		}
	}
}
