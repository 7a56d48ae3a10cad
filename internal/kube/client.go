// SPDX-License-Identifier: Apache-2.0

// Package kube is how the daemons speak with the API server: typed clients without a generated
// clientset, two informers, a writer of NodeConfig.status, and an event recorder.
package kube

import (
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

// The typed clients.
type (
	NodeConfigs = gentype.ClientWithList[*v1alpha1.NodeConfig, *v1alpha1.NodeConfigList]
	Nodes       = gentype.ClientWithList[*corev1.Node, *corev1.NodeList]
	Pods        = gentype.ClientWithList[*corev1.Pod, *corev1.PodList]
	Events      = gentype.ClientWithList[*corev1.Event, *corev1.EventList]
)

// Client speaks with one API server.
type Client struct {
	contact *contact
	core    rest.Interface
	flock   rest.Interface
	params  runtime.ParameterCodec
}

// Connect returns a client for the cluster that a kubeconfig file names, or, with an empty name, for
// the cluster in whose pod the program runs. It does not speak with the API server yet; an error is
// about the credentials.
func Connect(kubeconfig, userAgent string) (*Client, error) {
	config, err := Load(kubeconfig)
	if err != nil {
		return nil, err
	}
	config.UserAgent = userAgent
	config.QPS, config.Burst = 10, 50
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c := &Client{contact: new(contact), params: runtime.NewParameterCodec(scheme)}
	config.Wrap(c.contact.wrap)
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	if c.core, err = RESTClient(config, "/api", corev1.SchemeGroupVersion, codecs, runtime.ContentTypeProtobuf); err != nil {
		return nil, err
	}
	if c.flock, err = RESTClient(config, "/apis", v1alpha1.GroupVersion, codecs, runtime.ContentTypeJSON); err != nil {
		return nil, err
	}
	return c, nil
}

// Load returns the access that [Connect] has: to the cluster that a kubeconfig file names, or, with an empty name, to the
// one in whose pod the program runs.
func Load(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("find the API server from inside a pod: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// newScheme returns a scheme of the types that the daemons use, rather than of all that there are.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme, nil
}

// RESTClient returns what typed clients of one API group are made of. The path is "/api" for the group of Pods and Nodes and
// "/apis" for every other; the config stays as it is.
func RESTClient(config *rest.Config, path string, version schema.GroupVersion, codecs runtime.NegotiatedSerializer, contentType string) (rest.Interface, error) {
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion, c.NegotiatedSerializer, c.ContentType = path, &version, codecs, contentType
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", version, err)
	}
	return client, nil
}

// NodeConfigs returns the client of NodeConfigs.
func (c *Client) NodeConfigs() *NodeConfigs {
	return gentype.NewClientWithList(v1alpha1.Resource, c.flock, c.params, "",
		func() *v1alpha1.NodeConfig { return new(v1alpha1.NodeConfig) },
		func() *v1alpha1.NodeConfigList { return new(v1alpha1.NodeConfigList) })
}

// Nodes returns the client of Nodes.
func (c *Client) Nodes() *Nodes {
	return gentype.NewClientWithList("nodes", c.core, c.params, "",
		func() *corev1.Node { return new(corev1.Node) },
		func() *corev1.NodeList { return new(corev1.NodeList) })
}

// Pods returns the client of a namespace's Pods, of all Pods for an empty namespace.
func (c *Client) Pods(namespace string) *Pods {
	return gentype.NewClientWithList("pods", c.core, c.params, namespace,
		func() *corev1.Pod { return new(corev1.Pod) },
		func() *corev1.PodList { return new(corev1.PodList) })
}

// Events returns the client of a namespace's Events.
func (c *Client) Events(namespace string) *Events {
	return gentype.NewClientWithList("events", c.core, c.params, namespace,
		func() *corev1.Event { return new(corev1.Event) },
		func() *corev1.EventList { return new(corev1.EventList) })
}

// LogTo sends what the client library has to say to a log, for the whole process; unasked it writes
// lines of its own to standard error.
func LogTo(log *slog.Logger) { klog.SetSlogLogger(log) }
