// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// cluster is one node with its daemons and BIRD, a router with BIRD, and a real API server.
type cluster struct {
	*lab.Lab
	t         *tb
	api       *apiserver.Server
	node      *lab.Node
	namespace string
}

// newCluster starts everything with the rights that deploy/base gives, and waits until the node is Ready.
func (b *bench) newCluster(t *tb) (*cluster, error) {
	l, err := lab.New(lab.Options{Name: b.name + "-lab", Nodes: 1, Bin: b.flock})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	root, err := build.Root()
	if err != nil {
		return nil, err
	}
	api := apiserver.New(t)
	c := &cluster{Lab: l, t: t, api: api, node: l.Nodes[0], namespace: api.Namespace(t)}
	api.CRDs(t)
	api.Kubectl(t, "apply", "--server-side", "-k", filepath.Join(root, "deploy", "base"))
	api.MakeNode(t, c.node.Name)
	api.Reach(t, c.node.Netns)
	c.node.Kubernetes = &lab.Kubernetes{Kubeconfig: api.Agent(t, "flock-system", "flock", c.node.Name), NodeName: c.node.Name}
	if err := c.configure(); err != nil {
		return nil, err
	}
	ctx := t.Context()
	return c, errors.Join(c.node.Install(ctx), c.node.StartIpamd(), l.StartRouting(ctx), c.awaitReady(ctx))
}

// configure applies what birdd reads from a file where there is no Kubernetes.
func (c *cluster) configure() error {
	if err := c.node.SetNodeConfig(); err != nil {
		return err
	}
	text, err := os.ReadFile(c.node.NodeConfigFile())
	if err != nil {
		return fmt.Errorf("read the NodeConfig: %w", err)
	}
	c.api.Apply(c.t, string(text))
	return nil
}

func (c *cluster) awaitReady(ctx context.Context) error {
	client, err := kube.Connect(c.api.Kubeconfig(c.t), "bench")
	if err != nil {
		return err
	}
	return lab.Within(ctx, 30*time.Second, "the NodeConfig is Ready", func() error {
		nc, err := client.NodeConfigs().Get(ctx, c.node.Name, metav1.GetOptions{})
		if err == nil && !meta.IsStatusConditionTrue(nc.Status.Conditions, v1alpha1.ConditionReady) {
			err = fmt.Errorf("its conditions are %v", nc.Status.Conditions)
		}
		return err
	})
}

// attach makes a pod with anycast addresses, which is not ready yet, and attaches it.
func (c *cluster) attach(ctx context.Context, name string, addrs ...netip.Addr) (*corev1.Pod, error) {
	list := strings.ReplaceAll(strings.Trim(fmt.Sprint(addrs), "[]"), " ", ",")
	object := c.api.MakePod(c.t, c.namespace, name, c.node.Name, map[string]string{annotation.Anycast: list})
	pod, err := c.node.NewPod(name, object.Annotations)
	if err != nil {
		return nil, err
	}
	pod.Pod = cni.Pod{Namespace: object.Namespace, Name: object.Name, UID: string(object.UID)}
	return object, c.node.Runtime.Add(ctx, pod)
}
