// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"flock.fritzlab.net/flock/test/apiserver/pki"
)

const (
	// podCIDRs is what the controller manager divides into the Nodes' podCIDRs and all that pods' addresses lie
	// in; flock takes no notice of it.
	podCIDRs     = "10.244.0.0/16,2001:db8:244::/48"
	serviceCIDRs = "10.96.0.0/16,fd00:10:96::/112"
	dnsAddress   = "10.96.0.10"
)

// serverAddresses are all that the API server is asked at: on its link, and as the Service "kubernetes".
func serverAddresses() []netip.Addr {
	addresses := []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:10:96::1")}
	_, far := link(0)
	for _, p := range far {
		addresses = append(addresses, p.Addr())
	}
	return addresses
}

func serverAddress() netip.Addr {
	_, far := link(0)
	return pick(far, true)
}

func (c *Cluster) pki(name string) string { return filepath.Join(c.Dir, "pki", name) }

// Kubeconfig is the administrator's.
func (c *Cluster) Kubeconfig() string { return c.pki("admin.conf") }

// makeKeys makes every key, certificate and kubeconfig of the cluster.
func (c *Cluster) makeKeys() error {
	if err := os.MkdirAll(c.pki(""), 0o700); err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	ca, err := pki.New()
	if err != nil {
		return err
	}
	server, err := ca.Server(serverAddresses()...)
	if err != nil {
		return err
	}
	tokens, err := ca.User("service-accounts") // only its key is of use
	if err != nil {
		return err
	}
	kubelets, err := ca.User("kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt": ca.Cert, "server.crt": server.Cert, "server.key": server.Key, "tokens.key": tokens.Key,
		"kubelet-client.crt": kubelets.Cert, "kubelet-client.key": kubelets.Key,
	} {
		if err := os.WriteFile(c.pki(name), content, 0o600); err != nil {
			return fmt.Errorf("make keys: %w", err)
		}
	}
	return c.makeKubeconfigs(ca)
}

func (c *Cluster) makeKubeconfigs(ca *pki.Authority) error {
	users := map[string][]string{ // kubeconfig: user, groups
		"admin":                   {"admin", "system:masters"},
		"kube-controller-manager": {"system:kube-controller-manager"},
		"kube-scheduler":          {"system:kube-scheduler"},
		"kube-proxy":              {"system:kube-proxy"},
	}
	for _, n := range c.Nodes {
		users[n.Name] = []string{"system:node:" + n.Name, "system:nodes"}
	}
	for name, user := range users {
		pair, err := ca.User(user[0], user[1:]...)
		if err != nil {
			return err
		}
		config := api.NewConfig()
		config.Clusters[c.Name] = &api.Cluster{Server: "https://" + serverAddress().String() + ":6443", CertificateAuthorityData: ca.Cert}
		config.AuthInfos[name] = &api.AuthInfo{ClientCertificateData: pair.Cert, ClientKeyData: pair.Key}
		config.Contexts[c.Name] = &api.Context{Cluster: c.Name, AuthInfo: name}
		config.CurrentContext = c.Name
		if err := clientcmd.WriteToFile(*config, c.pki(name+".conf")); err != nil {
			return fmt.Errorf("write the kubeconfig of %s: %w", name, err)
		}
	}
	return nil
}

// startControl starts the control plane, and lets the nodes' kube-proxy in, as kubeadm does.
func (c *Cluster) startControl(ctx context.Context) error {
	if err := c.control.plug(0, c.Router.Netns); err != nil {
		return err
	}
	if err := c.startServer(ctx); err != nil {
		return err
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		if err := c.control.start(name, name, c.flags(name)...); err != nil {
			return err
		}
	}
	_, err := c.Kubectl(ctx, "create", "clusterrolebinding", "kube-proxy", "--clusterrole=system:node-proxier", "--user=system:kube-proxy")
	return err
}

// startServer starts etcd and the API server, and waits until that is ready.
func (c *Cluster) startServer(ctx context.Context) error {
	if err := c.control.start("etcd", "etcd", c.flags("etcd")...); err != nil {
		return err
	}
	return c.StartAPI(ctx)
}

// StartAPI starts the API server, for the first time or again, and waits until it is ready.
func (c *Cluster) StartAPI(ctx context.Context) error {
	if err := c.control.start("kube-apiserver", "kube-apiserver", c.flags("kube-apiserver")...); err != nil {
		return err
	}
	return c.control.await(ctx, "kube-apiserver", func() error { return c.get(ctx, "/readyz") })
}

// StopAPI kills the API server.
func (c *Cluster) StopAPI() error { return c.control.Signal("kube-apiserver", syscall.SIGKILL) }

// flags returns the command line of a daemon of the control plane.
func (c *Cluster) flags(daemon string) []string {
	return map[string][]string{
		"etcd": {
			"--name=control", "--data-dir=" + filepath.Join(c.control.Dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
		},
		"kube-apiserver": {
			"--etcd-servers=http://127.0.0.1:2379", "--advertise-address=" + serverAddress().String(),
			"--service-cluster-ip-range=" + serviceCIDRs, "--allow-privileged",
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--client-ca-file=" + c.pki("ca.crt"), "--tls-cert-file=" + c.pki("server.crt"), "--tls-private-key-file=" + c.pki("server.key"),
			"--kubelet-client-certificate=" + c.pki("kubelet-client.crt"), "--kubelet-client-key=" + c.pki("kubelet-client.key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + c.pki("tokens.key"), "--service-account-signing-key-file=" + c.pki("tokens.key"),
		},
		"kube-controller-manager": {
			"--kubeconfig=" + c.pki(daemon+".conf"), "--leader-elect=false", "--use-service-account-credentials",
			"--service-account-private-key-file=" + c.pki("tokens.key"), "--root-ca-file=" + c.pki("ca.crt"),
			"--allocate-node-cidrs", "--cluster-cidr=" + podCIDRs, "--service-cluster-ip-range=" + serviceCIDRs,
			"--node-cidr-mask-size-ipv4=24", "--node-cidr-mask-size-ipv6=64",
		},
		"kube-scheduler": {"--kubeconfig=" + c.pki(daemon+".conf"), "--leader-elect=false"},
	}[daemon]
}

// Kubectl runs kubectl as the administrator, where the API server can be reached, and returns what it printed to
// stdout. What it printed to stderr is part of the error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlInput(ctx, "", args...)
}

// KubectlInput is [Cluster.Kubectl] with something to read from stdin.
func (c *Cluster) KubectlInput(ctx context.Context, stdin string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin(), "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(), "KUBECACHEDIR="+filepath.Join(c.Dir, "cache"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := c.control.Do(cmd.Run); err != nil {
		return stdout.String(), fmt.Errorf("run kubectl %s: %w: %s", strings.Join(args, " "), err, &stderr)
	}
	return stdout.String(), nil
}
