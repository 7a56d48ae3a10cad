// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options say which cluster is meant.
type Options struct {
	// Name starts the names of the cluster's network namespaces and cgroups; no other cluster of the machine has it.
	Name string
	// Dir is the folder of all its files.
	Dir string
	// Nodes is how many there are.
	Nodes int
	// Log is told what happens; nobody is unless set.
	Log io.Writer
}

// Cluster is one cluster, up or not.
type Cluster struct {
	Name, Dir string
	Router    *Router
	Nodes     []*Node

	control *host
	log     io.Writer
	start   time.Time
}

// New returns the cluster of that name, and does nothing to it. The folder must be one that nodes see: not below
// /etc, /opt, /run, /sys, /var/lib or /var/log, where they have files of their own.
func New(o Options) (*Cluster, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the cluster's folder: %w", err)
	}
	for _, hidden := range []string{"/etc", "/opt", "/run", "/sys", "/var/lib", "/var/log"} {
		if strings.HasPrefix(dir+"/", hidden+"/") {
			return nil, fmt.Errorf("use folder %s: nodes do not see what is in %s", dir, hidden)
		}
	}
	c := &Cluster{Name: o.Name, Dir: dir, log: o.Log, start: time.Now()}
	c.control = c.newHost("control")
	c.Router = &Router{host: c.newHost("router")}
	for n := 1; n <= o.Nodes; n++ {
		c.Nodes = append(c.Nodes, c.newNode(n))
	}
	return c, nil
}

// Exists tells whether the cluster has a folder: it is up, or is coming up, or was not taken down whole.
func (c *Cluster) Exists() bool {
	_, err := os.Stat(c.Dir)
	return err == nil
}

// complete is the file that says that Up has succeeded.
func (c *Cluster) complete() string { return filepath.Join(c.Dir, "complete") }

// Complete tells whether the cluster has come up whole.
func (c *Cluster) Complete() bool {
	_, err := os.Stat(c.complete())
	return err == nil
}

// Up brings the cluster up: the control plane and the nodes, without a network for pods, so that no node is Ready
// yet. It must not exist.
func (c *Cluster) Up(ctx context.Context, p Programs) error {
	if c.Exists() {
		return fmt.Errorf("bring up cluster %s: %s is there already", c.Name, c.Dir)
	}
	for _, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"files", func(context.Context) error { return c.prepare(p) }},
		{"router", c.startRouter},
		{"control plane", c.startControl},
		{"nodes", c.startNodes},
		{"images", func(ctx context.Context) error { return c.Load(ctx, p.Images...) }},
	} {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("bring up cluster %s: %s: %w", c.Name, step.title, err)
		}
		c.Say("%s: done", step.title)
	}
	return os.WriteFile(c.complete(), nil, 0o644)
}

// Say tells the log what happened, with the time since the process took the cluster up.
func (c *Cluster) Say(format string, args ...any) {
	fmt.Fprintf(c.log, "%6.1fs  %s\n", time.Since(c.start).Seconds(), fmt.Sprintf(format, args...))
}

// startNodes starts the nodes, and waits until the API server knows them all.
func (c *Cluster) startNodes(ctx context.Context) error {
	for _, n := range c.Nodes {
		if err := n.Boot(ctx); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes {
		err := n.await(ctx, "kubelet", func() error { return c.get(ctx, "/api/v1/nodes/"+n.Name) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Load gives image archives to the containerd of every node.
func (c *Cluster) Load(ctx context.Context, archives ...string) error {
	return c.eachNode(func(n *Node) error { return n.load(ctx, archives) })
}

// eachNode does something on all nodes at once.
func (c *Cluster) eachNode(do func(*Node) error) error {
	results := make(chan error)
	for _, n := range c.Nodes {
		go func() { results <- do(n) }()
	}
	var errs []error
	for range c.Nodes {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// AwaitReady waits until every node is Ready.
func (c *Cluster) AwaitReady(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=120s", "node", "--all")
	return err
}

// Addresses of a link: the router has the first of each family, who it leads to the second.
func link(n int) (router, host []netip.Prefix) {
	at := func(last int) []netip.Prefix {
		return []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("fd00:%d::%d/64", n, last)),
			netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/24", n, last)),
		}
	}
	return at(1), at(2)
}
