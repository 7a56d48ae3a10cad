// SPDX-License-Identifier: Apache-2.0

// Package deploy holds the manifests; its tests apply them to a real API server.
package deploy

import (
	"fmt"
	"slices"
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

func TestRetire(t *testing.T) {
	spec := newCluster(t).daemonSet(withComponent(t, "retire"))
	if got := spec.InitContainers[0].Args; !slices.Equal(got, []string{"uninstall"}) || len(spec.Containers) != 3 {
		t.Errorf("the installer gets %q, beside %d containers", got, len(spec.Containers))
	}
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
