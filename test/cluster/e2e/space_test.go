// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// space is a test's namespace in Kubernetes.
type space struct {
	*testing.T
	name string
	api  *rest.RESTClient
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newSpace makes a namespace, which goes with all that is in it when the test ends.
func newSpace(t *testing.T, name string) *space {
	t.Helper()
	s := &space{T: t, name: name, api: newClient(t)}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	must(t, s.api.Post().Resource("namespaces").Body(namespace).Do(t.Context()).Error())
	t.Cleanup(s.clear)
	s.within(time.Minute, "the namespace has its account", func() error {
		return s.api.Get().Namespace(name).Resource("serviceaccounts").Name("default").Do(t.Context()).Error()
	})
	return s
}

func newClient(t *testing.T) *rest.RESTClient {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, corev1.AddToScheme(scheme))
	config, err := site.Config()
	must(t, err)
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	must(t, err)
	return client
}

// clear shows what the namespace has where the test failed, and deletes it.
func (s *space) clear() {
	ctx := context.Background()
	if s.Failed() {
		for _, what := range []string{"pods -o wide", "events --field-selector=type=Warning"} {
			out, err := site.Kubectl(ctx, append([]string{"get", "-n", s.name}, strings.Fields(what)...)...)
			s.Logf("%s%v", out, err)
		}
	}
	if err := s.api.Delete().Resource("namespaces").Name(s.name).Do(ctx).Error(); err != nil {
		s.Error(err)
	}
	s.within(endLimit, "namespace "+s.name+" is gone", func() error {
		err := s.api.Get().Resource("namespaces").Name(s.name).Do(ctx).Error()
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %v", err)
	})
}

// within calls check five times a second until it succeeds: less would wait for nothing else than more would, and
// every call of the API server takes from the two processors that pods start on.
func (s *space) within(limit time.Duration, what string, check func() error) {
	s.Helper()
	start := time.Now()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Since(start) > limit {
			s.Fatalf("wait until %s: not after %s: %v", what, time.Since(start).Round(time.Millisecond), err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// create makes objects of core/v1: pods, Services.
func (s *space) create(resource string, object runtime.Object) {
	s.Helper()
	must(s, s.api.Post().Namespace(s.name).Resource(resource).Body(object).Do(s.Context()).Error())
}

// kubectl runs kubectl in the namespace, and returns what it prints.
func (s *space) kubectl(args ...string) string {
	s.Helper()
	out, err := site.Kubectl(s.Context(), append([]string{"--namespace=" + s.name}, args...)...)
	must(s, err)
	return out
}

// apply applies a manifest in the namespace.
func (s *space) apply(manifest string) {
	s.Helper()
	file := filepath.Join(s.TempDir(), "manifest.yaml")
	must(s, os.WriteFile(file, []byte(manifest), 0o600))
	s.kubectl("apply", "-f", file)
}

// exec runs testpod in the pod, through the API server and the kubelet.
func (s *space) exec(pod string, args ...string) string {
	s.Helper()
	return s.kubectl(append([]string{"exec", pod, "--", "/testpod"}, args...)...)
}
