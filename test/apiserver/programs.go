// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
)

// startEtcd starts etcd on a unix socket. It has no other listener: the addresses on its command line are
// names that etcd demands.
func (s *Server) startEtcd(ctx context.Context) (err error) {
	const itself = "http://127.0.0.1:2380"
	s.etcd, err = start(s.dir, filepath.Join(s.bin, "etcd"),
		"--name=test", "--data-dir="+s.file("etcd"), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls=unix://"+s.etcdSocket(), "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=unix://"+s.file("peer.sock"), "--initial-advertise-peer-urls="+itself, "--initial-cluster=test="+itself,
		"--heartbeat-interval=10", "--election-timeout=100")
	if err != nil {
		return err
	}
	return s.await(ctx, s.etcd, func(ctx context.Context) error {
		var health struct{ Health string }
		if err := s.askEtcd(ctx, "/health", nil, &health); err != nil {
			return err
		}
		if health.Health != "true" {
			return fmt.Errorf("its health is %q", health.Health)
		}
		return nil
	})
}

func (s *Server) etcdSocket() string { return s.file("etcd.sock") }

// resume starts kube-apiserver and waits until it is ready.
func (s *Server) resume(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api != nil && s.api.running() {
		return nil
	}
	s.started = time.Now()
	api, err := start(s.dir, filepath.Join(s.bin, "kube-apiserver"), s.flags()...)
	if err != nil {
		return err
	}
	s.api = api
	client, err := rest.HTTPClientFor(s.config)
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	return s.await(ctx, s.api, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.Host+"/readyz", nil)
		if err != nil {
			return err
		}
		return fetch(client, request, nil)
	})
}

func (s *Server) flags() []string {
	return []string{
		"--etcd-servers=unix://" + s.etcdSocket(), "--etcd-compaction-interval=0",
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(s.port), "--permit-port-sharing",
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112", "--allow-privileged",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file=" + s.file("ca.crt"),
		"--tls-cert-file=" + s.file("server.crt"), "--tls-private-key-file=" + s.file("server.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + s.file("tokens.key"), "--service-account-signing-key-file=" + s.file("tokens.key"),
		"--audit-policy-file=" + s.file("audit.yaml"), "--audit-log-path=" + s.auditLog(),
	}
}

// askEtcd sends etcd a request in JSON, a GET where there is no body, and decodes its answer.
func (s *Server) askEtcd(ctx context.Context, path string, body, answer any) error {
	method, content := http.MethodGet, []byte(nil)
	if body != nil {
		var err error
		method = http.MethodPost
		if content, err = json.Marshal(body); err != nil {
			return fmt.Errorf("ask etcd for %s: %w", path, err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://etcd"+path, bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("ask etcd for %s: %w", path, err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.etcdSocket())
	}}
	defer transport.CloseIdleConnections()
	return fetch(&http.Client{Transport: transport}, request, answer)
}

// fetch decodes the JSON that answers the request, unless answer is nil.
func fetch(client *http.Client, request *http.Request, answer any) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", body)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %s: %w", request.Method, request.URL, response.Status, err)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}
