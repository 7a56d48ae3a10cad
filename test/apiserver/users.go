// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"flock.fritzlab.net/flock/test/apiserver/pki"
)

// Config returns an administrator's access to the server, without a limit on its rate.
func (s *Server) Config() *rest.Config { return rest.CopyConfig(s.config) }

// newConfig is the access of who holds the certificate, or the token where there is one.
func (s *Server) newConfig(user pki.Pair, token string) *rest.Config {
	return &rest.Config{
		Host:            fmt.Sprintf("https://127.0.0.1:%d", s.port),
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.ca.Cert, CertData: user.Cert, KeyData: user.Key},
		QPS:             -1,
	}
}

// Kubeconfig returns the path of an administrator's kubeconfig, which lives as long as the test.
func (s *Server) Kubeconfig(t testing.TB) string {
	t.Helper()
	return writeKubeconfig(t, s.config)
}

// User returns the path of a kubeconfig that is the user's by a client certificate: "system:node:node1" of
// group "system:nodes" is the kubelet of node1.
func (s *Server) User(t testing.TB, name string, groups ...string) string {
	t.Helper()
	user, err := s.ca.User(name, groups...)
	check(t, err)
	return writeKubeconfig(t, s.newConfig(user, ""))
}

// ServiceAccount returns the path of a kubeconfig with a token of the account, good for a day. The account and its
// namespace are made where they are not there; what the account may do is up to the test.
func (s *Server) ServiceAccount(t testing.TB, namespace, name string) string {
	t.Helper()
	s.ensureAccount(t, namespace, name)
	return s.tokenKubeconfig(t, namespace, name, nil)
}

// PodAccount returns the path of a kubeconfig with a token as the kubelet gives it to the pod: bound to the pod,
// and so naming the pod's node to admission policies.
func (s *Server) PodAccount(t testing.TB, pod *corev1.Pod) string {
	t.Helper()
	return s.tokenKubeconfig(t, pod.Namespace, pod.Spec.ServiceAccountName,
		&authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID})
}

// Agent is [Server.PodAccount] for a DaemonSet's pod on the node, which it makes, with the account and its namespace
// where they are not there.
func (s *Server) Agent(t testing.TB, namespace, account, node string) string {
	t.Helper()
	return s.PodAccount(t, s.makePod(t, namespace, "agent-"+node, node, account, nil))
}

func (s *Server) tokenKubeconfig(t testing.TB, namespace, name string, bound *authenticationv1.BoundObjectReference) string {
	t.Helper()
	day := int64(24 * 60 * 60)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day, BoundObjectRef: bound}}
	answer := &authenticationv1.TokenRequest{}
	check(t, s.core(t).Post().Namespace(namespace).Resource("serviceaccounts").Name(name).SubResource("token").
		Body(request).Do(context.Background()).Into(answer))
	return writeKubeconfig(t, s.newConfig(pki.Pair{}, answer.Status.Token))
}

func (s *Server) ensureAccount(t testing.TB, namespace, name string) {
	t.Helper()
	s.ensure(t, "", "namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	s.ensure(t, namespace, "serviceaccounts", &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func writeKubeconfig(t testing.TB, c *rest.Config) string {
	t.Helper()
	const name = "test"
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	config.AuthInfos[name] = &api.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, Token: c.BearerToken}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	path := filepath.Join(t.TempDir(), "kubeconfig")
	check(t, clientcmd.WriteToFile(*config, path))
	return path
}

// Kubectl runs kubectl as an administrator and returns what it printed to stdout. The test ends when it fails.
func (s *Server) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return s.kubectl(t, "", args...)
}

// Apply applies a manifest, as "kubectl apply" does. What it makes stays when the test ends.
func (s *Server) Apply(t testing.TB, manifest string) {
	t.Helper()
	s.kubectl(t, manifest, "apply", "-f", "-")
}

// TryKubectl runs kubectl as the holder of the kubeconfig with stdin, and returns what it printed to stdout; what it
// printed to stderr is part of the error.
func (s *Server) TryKubectl(ctx context.Context, kubeconfig, stdin string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	args = append([]string{"--kubeconfig=" + kubeconfig, "--cache-dir=" + s.file("kubectl")}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "kubectl"), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("run kubectl %s: %w: %s", strings.Join(args[2:], " "), err, &stderr)
	}
	return stdout.String(), nil
}

func (s *Server) kubectl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	out, err := s.TryKubectl(t.Context(), s.Kubeconfig(t), stdin, args...)
	check(t, err)
	return out
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
