// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/test/apiserver"
)

// secretSpace is the namespace that deploy/base lets flock read Secrets in.
const secretSpace = "flock-system"

// clusterSite is a site whose birdd gets everything from an API server, as the account of deploy/base, with
// the capabilities that it has there and a root file system that it cannot write.
type clusterSite struct {
	*site
	api        *apiserver.Server
	kubeconfig string
	name       string
	program    string // birdd: this test binary unless said otherwise
}

func newClusterSite(t *testing.T, kind string, routers int) *clusterSite {
	t.Helper()
	s := newSite(t, kind, routers)
	return s.join(apiserver.Start(t))
}

// join makes the site a node of the API server's.
func (s *site) join(api *apiserver.Server) *clusterSite {
	s.Helper()
	api.CRDs(s.T)
	api.Kubectl(s.T, "apply", "--server-side", "-f", "../../deploy/base/namespace.yaml", "-f", "../../deploy/base/rbac.yaml")
	c := &clusterSite{site: s, api: api, name: s.node.Name, program: os.Args[0], kubeconfig: api.ServiceAccount(s.T, secretSpace, "flock")}
	api.MakeNode(s.T, c.name)
	api.Reach(s.T, s.node)
	return c
}

// configure applies the NodeConfig, its spec given.
func (s *clusterSite) configure(spec string) {
	s.Helper()
	s.api.Apply(s.T, "apiVersion: flock.fritzlab.net/v1alpha1\nkind: NodeConfig\nmetadata: {name: "+s.name+"}\nspec:\n"+s.spoken(spec))
}

func (s *clusterSite) startBirdd(flags ...string) {
	s.Helper()
	args := slices.Concat(readOnlyBut(s.dir), onlyCapabilities("net_admin"), []string{s.program, "run", "--node-name", s.name, "--kubeconfig", s.kubeconfig,
		"--secret-namespace", secretSpace, "--bird-conf", s.path("bird.conf"), "--state-dir", s.dir}, flags)
	var err error
	s.birdd, err = s.node.Start(s.path("birdd.log"), args[0], args[1:]...)
	must(s.T, err)
}

// start starts everything, see [site.start].
func (s *clusterSite) start(spec string, routers ...string) {
	s.Helper()
	s.configure(spec)
	s.startBirdd()
	s.startSpeakers(routers...)
}

// get decodes what kubectl gets.
func (s *clusterSite) get(into any, args ...string) {
	s.Helper()
	must(s.T, json.Unmarshal([]byte(s.api.Kubectl(s.T, append([]string{"get", "-o", "json"}, args...)...)), into))
}

func (s *clusterSite) nodeConfig() *v1alpha1.NodeConfig {
	s.Helper()
	c := new(v1alpha1.NodeConfig)
	s.get(c, "nodeconfig", s.name)
	return c
}

// wantCondition waits until the NodeConfig has the condition, with the text in its message, for its generation.
func (s *clusterSite) wantCondition(kind string, status metav1.ConditionStatus, reason, text string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s is %s for %s", kind, status, reason), func() error {
		nodeConfig := s.nodeConfig()
		c := meta.FindStatusCondition(nodeConfig.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, text) || c.ObservedGeneration != nodeConfig.Generation {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}

// wantNetwork waits until the Node has the condition NetworkUnavailable.
func (s *clusterSite) wantNetwork(unavailable corev1.ConditionStatus, reason string) {
	s.Helper()
	s.eventually("NetworkUnavailable is "+string(unavailable), func() error {
		node := new(corev1.Node)
		s.get(node, "node", s.name)
		i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeNetworkUnavailable })
		if i < 0 {
			return errors.New("there is no such condition")
		}
		if c := node.Status.Conditions[i]; c.Status != unavailable || c.Reason != reason {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}

// sayPoolsReady is ipamd's part of the status.
func (s *clusterSite) sayPoolsReady() {
	s.Helper()
	patch := `{"status": {"conditions": [{"type": "PoolsReady", "status": "True", "reason": "PoolsServing", "message": "", "lastTransitionTime": "2026-11-23T14:00:00Z"}]}}`
	s.api.Kubectl(s.T, "patch", "nodeconfig", s.name, "--subresource=status", "--type=merge", "--patch", patch)
}

// letAnythingIn has the API server accept any spec, as a CustomResourceDefinition of another version may.
func (s *clusterSite) letAnythingIn() {
	s.Helper()
	patch := `[{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
		"value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}]`
	s.api.Kubectl(s.T, "patch", "crd", "nodeconfigs.flock.fritzlab.net", "--type=json", "--patch", patch)
	s.eventually("the API server checks no more", func() error {
		_, err := s.api.TryKubectl(s.Context(), s.api.Kubeconfig(s.T), "", "patch", "nodeconfig", s.name, "--type=merge", "--dry-run=server", "--patch", `{"spec": {"mtu": 1}}`)
		return err
	})
}

// wantWatches waits until birdd watches these resources, each once.
func (s *clusterSite) wantWatches(want ...string) {
	s.Helper()
	s.eventually("birdd watches what it should", func() error {
		var got []string
		for _, w := range s.api.Watches(s.T, "flock-birdd/"+s.name) {
			got = append(got, w.Object.Resource)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("it watches %v", got)
		}
		return nil
	})
}
