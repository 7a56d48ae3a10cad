// SPDX-License-Identifier: Apache-2.0

// Package build compiles what the tests, the demo and the benchmark execute: flock's own programs and
// the reference plugins. Everything goes below the repository's bin/ folder, where the go command
// leaves a program alone that is up to date.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Programs are flock's programs as packages relative to the repository's root.
var Programs = []string{
	"./flock-ipam", "./flock-ipam/ipamd", "./flock-veth", "./flock-route",
	"./flock-bird", "./flock-bird/birdd", "./installer/flock-installer",
	"./plugins/speaker/speaker-gobgp", "./plugins/allocator/allocator-sticky",
}

// Root returns the repository's folder, that of the go.mod which governs the working directory.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("find the repository: the working directory is in no Go module")
	}
	return filepath.Dir(mod), nil
}

// Flock builds flock's programs as "make build" does and returns their folder.
func Flock(ctx context.Context) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin", "test")
	return dir, compile(ctx, root, dir, Programs...)
}

// Reference builds ptp, bridge, macvlan, host-local, cnitool and the like at the versions that
// test/reference/go.mod pins, and returns their folder.
func Reference(ctx context.Context) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin", "reference")
	return dir, compile(ctx, filepath.Join(root, "test", "reference"), dir, "tool")
}

// compile runs go build for the packages into dir. Processes that want the same folder take turns, so
// that none executes a half-written program.
func compile(ctx context.Context, module, dir string, packages ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build into %s: %w", dir, err)
	}
	unlock, err := lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", dir + "/"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", strings.Join(packages, " "), module, err, out)
	}
	return nil
}

func lock(path string) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return func() { file.Close() }, nil
}
