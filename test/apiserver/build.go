// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/build"
)

// program is a folder of the binaries module: one program that acts by the name that it is started with.
type program struct {
	name  string
	names []string
}

var (
	controlplane = program{"controlplane", []string{"etcd", "kube-apiserver", "kubectl"}}
	kubernetes   = program{"kubernetes", []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet",
	}}
)

// Build returns the folder of etcd, kube-apiserver and kubectl. It is below the user's cache folder and built
// when it is not there, which takes minutes and says so on stderr; processes that want it at once take turns.
func Build(ctx context.Context) (string, error) { return controlplane.build(ctx) }

// BuildCluster is [Build] for every program of a cluster: kube-controller-manager, kube-scheduler, kube-proxy and
// kubelet too.
func BuildCluster(ctx context.Context) (string, error) { return kubernetes.build(ctx) }

func (p program) build(ctx context.Context) (string, error) {
	root, err := build.Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "test", "apiserver", "binaries")
	key, err := hash(filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum"), filepath.Join(module, p.name, "main.go"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("build Kubernetes: %w", err)
	}
	dir := filepath.Join(cache, "flock", p.name+"-"+key)
	if exists(dir) {
		return dir, nil
	}
	unlock, err := lock(filepath.Join(cache, "flock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(dir) {
		return dir, nil
	}
	version, err := kubernetesVersion(ctx, module)
	if err != nil {
		return "", err
	}
	return dir, p.compile(ctx, module, dir, version)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hash names what the files and the compiler make.
func hash(files ...string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH)
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("build Kubernetes: %w", err)
		}
		sum.Write(content)
	}
	return fmt.Sprintf("%.6x", sum.Sum(nil)), nil
}

// lock makes the folder and returns what lets the next process in.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("build Kubernetes: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("build Kubernetes: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Name(), err), file.Close())
	}
	return func() { file.Close() }, nil
}

// compile makes dir whole or not at all.
func (p program) compile(ctx context.Context, module, dir, version string) error {
	fmt.Fprintf(os.Stderr, "building %s %s into %s, once: some minutes\n", strings.Join(p.names, ", "), version, dir)
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("build Kubernetes: %w", err)
	}
	// CGO_ENABLED=0 and -trimpath are the same everywhere, so that the build cache serves every checkout.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w "+versionFlags(version), "-o", partial+"/", "./"+p.name)
	cmd.Dir, cmd.Env = module, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build Kubernetes: %w\n%s", err, out)
	}
	for _, name := range p.names {
		if err := os.Symlink(p.name, filepath.Join(partial, name)); err != nil {
			return fmt.Errorf("build Kubernetes: %w", err)
		}
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("build Kubernetes: %w", err)
	}
	return nil
}

// kubernetesVersion returns the one that the module pins.
func kubernetesVersion(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	cmd.Dir = module
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the version of Kubernetes in %s: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// versionFlags tells the linker the version that Kubernetes reports; without it that is v0.0.0, which clients
// and feature gates take for an ancient one.
func versionFlags(version string) string {
	number := strings.Split(strings.TrimPrefix(version, "v"), ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, value := range []string{"gitVersion=" + version, "gitMajor=" + number[0], "gitMinor=" + number[1], "gitTreeState=clean"} {
			flags = append(flags, "-X "+pkg+"."+value)
		}
	}
	return strings.Join(flags, " ")
}
