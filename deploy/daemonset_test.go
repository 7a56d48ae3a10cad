// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/test/build"
)

// daemonSet returns the DaemonSet of a folder of manifests as the API server would have it.
func (c cluster) daemonSet(folder string) corev1.PodSpec {
	c.Helper()
	out := c.Kubectl(c.T, "apply", "-k", folder, "--dry-run=server", "-l", "app.kubernetes.io/name=flock", "-o", "json")
	var list struct{ Items []json.RawMessage }
	must(c.T, json.Unmarshal([]byte(out), &list))
	for _, item := range list.Items {
		var ds appsv1.DaemonSet
		if json.Unmarshal(item, &ds) == nil && ds.Kind == "DaemonSet" {
			return ds.Spec.Template.Spec
		}
	}
	c.Fatalf("%s has no DaemonSet", folder)
	return corev1.PodSpec{}
}

func containers(spec corev1.PodSpec) []corev1.Container {
	return slices.Concat(spec.InitContainers, spec.Containers)
}

// withComponent is an overlay as docs/install.md has it.
func withComponent(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	here, err := filepath.Abs(".")
	must(t, err)
	base, err := filepath.Rel(dir, filepath.Join(here, "base"))
	must(t, err)
	text := fmt.Sprintf("resources: [%s]\ncomponents:\n", base)
	for _, name := range names {
		text += fmt.Sprintf("- %s\n", filepath.Join(base, "../components", name))
	}
	must(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644))
	return dir
}

// TestArguments has the real programs read their arguments.
func TestArguments(t *testing.T) {
	c := newCluster(t)
	bin, err := build.Flock(t.Context())
	must(t, err)
	for _, folder := range []string{"base", "overlays/labelled", withComponent(t, "metrics"), withComponent(t, "retire"), withComponent(t, "gobgp")} {
		for _, container := range containers(c.daemonSet(folder)) {
			args := append(container.Args, "--help")
			out, err := exec.Command(filepath.Join(bin, container.Command[0]), args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "Usage:") {
				t.Errorf("%s: %s %q: %v: %s", folder, container.Command[0], args, err, out)
			}
		}
	}
}

// TestProbes: each probe asks where its daemon listens.
func TestProbes(t *testing.T) {
	c := newCluster(t)
	for folder, want := range map[string]string{"base": "127.0.0.1", withComponent(t, "metrics"): "status.hostIP"} {
		for _, container := range c.daemonSet(folder).Containers[:2] {
			listen := container.Env[slices.IndexFunc(container.Env, func(e corev1.EnvVar) bool { return e.Name == "LISTEN" })]
			host := listen.Value
			if listen.ValueFrom != nil {
				host += listen.ValueFrom.FieldRef.FieldPath
			}
			if host != want {
				t.Errorf("%s: %s listens on %q, want %q", folder, container.Name, host, want)
			}
			for path, probe := range map[string]*corev1.Probe{"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
				get := probe.HTTPGet
				arg := fmt.Sprintf("--listen=[$(LISTEN)]:%d", get.Port.IntVal)
				if get.Host != listen.Value || get.Path != path || !slices.Contains(container.Args, arg) {
					t.Errorf("%s: %s has %q and asks %s:%d%s", folder, container.Name, container.Args, get.Host, get.Port.IntVal, get.Path)
				}
			}
		}
	}
}

// TestGoBGP: speaker-gobgp stands beside BIRD, and may stand in its place, with what BIRD has.
func TestGoBGP(t *testing.T) {
	c := newCluster(t)
	base, spec := c.daemonSet("base").Containers, c.daemonSet(withComponent(t, "gobgp", "no-bird")).Containers
	if both := c.daemonSet(withComponent(t, "gobgp")).Containers; len(both) != len(base)+1 {
		t.Errorf("beside BIRD the containers are %+v", both)
	}
	index := func(all []corev1.Container, name string) int {
		return slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name })
	}
	bird, gobgp, daemon := index(base, "bird"), index(spec, "gobgp"), index(spec, "birdd")
	if len(spec) != len(base) || bird < 0 || gobgp < 0 || daemon < 0 || index(spec, "bird") >= 0 {
		t.Fatalf("the containers are %+v", spec)
	}
	if diff := cmp.Diff(base[bird].SecurityContext, spec[gobgp].SecurityContext); diff != "" {
		t.Errorf("security context (-bird +gobgp):\n%s", diff)
	}
	// birdd and the speaker have the state folder in common, and the program is in the daemons' image.
	if spec[gobgp].Image != spec[daemon].Image || spec[gobgp].VolumeMounts[0] != spec[daemon].VolumeMounts[0] {
		t.Errorf("gobgp has image %s and %+v", spec[gobgp].Image, spec[gobgp].VolumeMounts)
	}
}

// TestSecurity: no container has more than it needs.
func TestSecurity(t *testing.T) {
	spec := newCluster(t).daemonSet("base")
	if got := spec.SecurityContext.SeccompProfile.Type; got != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("seccomp profile %s", got)
	}
	if spec.HostPID || spec.HostIPC {
		t.Error("the pod has the node's processes")
	}
	want := map[string]string{
		"installer": "drop [ALL] add []",
		"ipamd":     "drop [ALL] add []",
		"birdd":     "drop [ALL] add [NET_ADMIN]",
		"bird":      "drop [ALL] add [NET_ADMIN NET_RAW NET_BIND_SERVICE]",
	}
	got, tokens := map[string]string{}, []string{}
	for _, container := range containers(spec) {
		s := container.SecurityContext
		got[container.Name] = fmt.Sprint("drop ", s.Capabilities.Drop, " add ", s.Capabilities.Add)
		if s.Privileged != nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s: privileged %v, escalation %v, read-only root %v", container.Name, s.Privileged, *s.AllowPrivilegeEscalation, *s.ReadOnlyRootFilesystem)
		}
		for _, mount := range container.VolumeMounts {
			if mount.Name == "token" {
				tokens = append(tokens, container.Name)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ipamd", "birdd"}, tokens); diff != "" {
		t.Errorf("who has a token (-want +got):\n%s", diff)
	}
}

// TestPodSecurity: what the API server's own check finds is what cannot be otherwise.
func TestPodSecurity(t *testing.T) {
	c := newCluster(t)
	c.pod("security")
	for level, want := range map[string]string{
		"baseline":   "non-default capabilities, host namespaces, hostPath volumes, probe or lifecycle host",
		"restricted": "host namespaces, probe or lifecycle host, unrestricted capabilities, restricted volume types, runAsNonRoot != true",
	} {
		_, err := c.as(c.Kubeconfig(t), "label", "namespace", "flock-system", "pod-security.kubernetes.io/enforce="+level,
			"--overwrite", "--dry-run=server", "--warnings-as-errors")
		if err == nil || !strings.Contains(err.Error(), "Warning: flock-security: "+want+"\n") {
			t.Errorf("level %s: %v, want %s", level, err, want)
		}
	}
}
