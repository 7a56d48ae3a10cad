// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Node is one node: a network, mount and UTS namespace with containerd, kubelet and kube-proxy.
type Node struct {
	*host
	// Name is the node's name in Kubernetes.
	Name   string
	Number int
	// Address6 and Address4 are its own, Pool6 and Pool4 its pods'.
	Address6, Address4 netip.Addr
	Pool6, Pool4       netip.Prefix

	cluster *Cluster
}

func (c *Cluster) newNode(number int) *Node {
	short := fmt.Sprintf("node%d", number)
	_, far := link(number)
	n := &Node{
		host: c.newHost(short), Name: short, Number: number, cluster: c,
		Address6: pick(far, false), Address4: pick(far, true),
		Pool6: netip.MustParsePrefix(fmt.Sprintf("2001:db8:244:%d::/64", number)),
		Pool4: netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", number)),
	}
	n.enter = n.Do
	return n
}

// ContainerdMetrics is where a node's containerd tells its metrics, inside the node.
const ContainerdMetrics = "127.0.0.1:1338/v1/metrics"

// ASN is the node's AS number.
func (n *Node) ASN() int { return RouterASN + n.Number }

// Boot starts the node as a machine starts: what it had in /run is gone, what it had on its disk is there.
func (n *Node) Boot(ctx context.Context) error {
	if err := n.plug(n.Number, n.cluster.Router.Netns); err != nil {
		return err
	}
	if err := n.furnish(); err != nil {
		return err
	}
	for _, daemon := range []string{"containerd", "kubelet", "kube-proxy"} {
		if err := n.Start(ctx, daemon); err != nil {
			return err
		}
	}
	return nil
}

// Halt stops the node as when its power fails: it kills every process and removes the namespaces and the cgroup.
func (n *Node) Halt(ctx context.Context) error {
	if err := n.group.kill(ctx); err != nil {
		return err
	}
	// The cable would go with the network namespace, but some time later.
	if _, err := n.cluster.Router.Run(ctx, "ip", "link", "delete", n.Name); err != nil {
		return err
	}
	if err := n.Delete(); err != nil {
		return err
	}
	return n.group.remove(ctx)
}

// Start starts containerd, kubelet or kube-proxy, for the first time or again, and waits for containerd to answer.
func (n *Node) Start(ctx context.Context, daemon string) error {
	args := map[string][]string{
		"containerd": {"--config", n.file("containerd.toml")},
		"kubelet": {
			"--config=" + n.file("kubelet.yaml"), "--kubeconfig=" + n.cluster.pki(n.Name+".conf"), "--hostname-override=" + n.Name,
			"--node-ip=" + n.Address4.String() + "," + n.Address6.String(), "--v=2",
		},
		"kube-proxy": {"--config=" + n.file("kube-proxy.yaml")},
	}[daemon]
	if err := n.start(daemon, daemon, args...); err != nil {
		return err
	}
	if daemon != "containerd" {
		return nil
	}
	return n.await(ctx, daemon, func() error {
		_, err := n.Run(ctx, "ctr", "version")
		return err
	})
}

func (n *Node) file(name string) string { return filepath.Join(n.Dir, name) }

// Do runs fn on a thread inside all of the node's namespaces: files are the node's too. The thread ends with fn.
func (n *Node) Do(fn func() error) error {
	pid, err := n.PID(holder)
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := join(pid, "net", "uts", "mnt"); err != nil {
			return fmt.Errorf("enter %s: %w", n.Name, err)
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own that ends with it.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	return <-done
}

// join moves the calling thread into namespaces of the process.
func join(pid int, namespaces ...string) error {
	// Threads share their root and working directory, and must not where one enters a mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for _, name := range namespaces {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		if err == nil {
			err = errors.Join(unix.Setns(int(file.Fd()), 0), file.Close())
		}
		if err != nil {
			return fmt.Errorf("join namespace %s of process %d: %w", name, pid, err)
		}
	}
	return nil
}

// Run executes a command inside the node and returns what it printed to stdout. What it printed to stderr is part of
// the error.
func (n *Node) Run(ctx context.Context, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := n.Do(cmd.Run); err != nil {
		return stdout.String(), fmt.Errorf("run %s %s in %s: %w: %s", name, strings.Join(args, " "), n.Name, err, &stderr)
	}
	return stdout.String(), nil
}

// load gives image archives to the node's containerd.
func (n *Node) load(ctx context.Context, archives []string) error {
	for _, archive := range archives {
		if _, err := n.Run(ctx, "ctr", "--namespace", "k8s.io", "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the node's processes whose command line starts with these words, the first of them the program's name
// without its folder: "birdd", "run".
func (n *Node) Find(words ...string) ([]int, error) {
	pids, err := n.group.pids()
	if err != nil {
		return nil, err
	}
	var found []int
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(line), "\x00")
		args[0] = filepath.Base(args[0])
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// Root returns where the node's files are seen from outside.
func (n *Node) Root() (string, error) {
	pid, err := n.PID(holder)
	return fmt.Sprintf("/proc/%d/root", pid), err
}
