// SPDX-License-Identifier: Apache-2.0

// Package deploy holds the manifests; its tests apply them to a real API server.
package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"flock.fritzlab.net/flock/test/apiserver"
)

// cluster is a real API server with deploy/base in it.
type cluster struct {
	*testing.T
	*apiserver.Server
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	c := cluster{t, apiserver.Start(t)}
	applied.Do(func() {
		c.Kubectl(t, "apply", "-k", "base")
		c.Kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "nodeconfigs.flock.fritzlab.net")
	})
	return c
}

var applied sync.Once

// as runs kubectl as the holder of the kubeconfig.
func (c cluster) as(kubeconfig string, args ...string) (string, error) {
	return c.TryKubectl(c.Context(), kubeconfig, "", args...)
}

func TestApplyTwice(t *testing.T) {
	s := apiserver.New(t)
	for _, want := range []string{" created", " unchanged"} {
		out := s.Kubectl(t, "apply", "-k", "base")
		if strings.Count(out, "\n") < 12 {
			t.Errorf("apply -k deploy/base printed\n%s", out)
		}
		for line := range strings.Lines(out) {
			if !strings.HasSuffix(strings.TrimSpace(line), want) {
				t.Errorf("apply says %q, want%s", line, want)
			}
		}
	}
}

func TestLabelled(t *testing.T) {
	spec := newCluster(t).daemonSet("overlays/labelled")
	terms := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	if got, want := fmt.Sprint(terms), "[{[{flock.fritzlab.net/agent Exists []}] []}]"; got != want {
		t.Errorf("the labelled overlay asks for %s, want %s", got, want)
	}
}

// TestRetire has the installer take away what it wrote by the kustomization of docs/uninstall.md, of which the one below is
// that of docs/install.md, with arguments for the installer.
func TestRetire(t *testing.T) {
	install, retire := kustomizations(t, "install.md"), kustomizations(t, "uninstall.md")
	if len(install) != 2 || len(retire) != 1 {
		t.Fatalf("the documents have the kustomizations %q and %q", install, retire)
	}
	dir := t.TempDir()
	here, err := filepath.Abs("..")
	must(t, err)
	for folder, text := range map[string]string{"my-flock": install[0] + install[1], "retire": retire[0]} {
		must(t, os.Mkdir(filepath.Join(dir, folder), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, folder, "kustomization.yaml"), []byte(text), 0o644))
	}
	must(t, os.Symlink(here, filepath.Join(dir, "my-flock", "flock")))
	c := newCluster(t)
	for folder, want := range map[string]string{"my-flock": "[install --add=portmap]", "retire": "[uninstall]"} {
		spec := c.daemonSet(filepath.Join(dir, folder))
		installer := spec.InitContainers[0]
		if got := fmt.Sprint(installer.Args); got != want || len(spec.Containers) != 3 {
			t.Errorf("%s: the installer gets %s, want %s, beside %d containers", folder, got, want, len(spec.Containers))
		}
		if installer.Image != "registry.example/flock/flock:v1" {
			t.Errorf("%s: the image is %s", folder, installer.Image)
		}
	}
}

// kustomizations returns the blocks of a document that are one, or a part of one.
func kustomizations(t *testing.T, file string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs", file))
	must(t, err)
	for _, match := range regexp.MustCompile("(?ms)^```yaml\n((?:# [a-z/]*kustomization.yaml|patches:)\n.*?)^```").FindAllStringSubmatch(string(text), -1) {
		all = append(all, match[1])
	}
	return all
}

func TestExamples(t *testing.T) {
	c := newCluster(t)
	for _, name := range []string{"ipv6-only", "dual-stack", "unnumbered"} {
		out := c.Kubectl(t, "apply", "--dry-run=server", "-k", "examples/"+name)
		if !strings.Contains(out, "nodeconfig.flock.fritzlab.net/node-1 created (server dry run)") {
			t.Errorf("%s: %s", name, out)
		}
	}
}
