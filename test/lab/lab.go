// SPDX-License-Identifier: Apache-2.0

// Package lab builds networks of network namespaces on one machine: a top-of-rack router, nodes that
// are joined to it, and pods. BIRD runs in the router and the nodes, and flock's plugins run on the
// nodes through libcni, as a container runtime runs them. Nothing is changed outside the
// namespaces and the lab's folder, and [Lab.Close] removes both.
//
// Every cable carries IPv6 and IPv4: node n has fd00:n::2 and 10.0.n.2 on its link, the router fd00:n::1 and
// 10.0.n.1; its pods' pools are 2001:db8:n::/64 and 10.244.n.0/24.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
)

// Options say what lab to build.
type Options struct {
	// Name starts the names of the lab's namespaces and of its folder; it must be unique.
	Name string
	// Nodes is how many there are.
	Nodes int
	// MTU of the cables in bytes; 1500 unless set.
	MTU int
	// Bin is the folder of flock's programs.
	Bin string
}

// Lab is one network. Close it, or call [CloseOnSignal] too, so that it goes with the process.
type Lab struct {
	// Dir holds every file of the lab.
	Dir    string
	Router *Router
	Nodes  []*Node

	prefix string
	bin    string
	mtu    int

	mu     sync.Mutex
	netns  []*Netns
	closed bool
}

// New builds the network: namespaces, cables and folders. Nothing runs in it yet.
func New(o Options) (*Lab, error) {
	if o.MTU == 0 {
		o.MTU = 1500
	}
	dir, err := os.MkdirTemp("", o.Name+"-")
	if err != nil {
		return nil, fmt.Errorf("make the lab's folder: %w", err)
	}
	l := &Lab{Dir: dir, prefix: o.Name, bin: o.Bin, mtu: o.MTU}
	labs.add(l)
	if err := l.build(o.Nodes); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) build(nodes int) (err error) {
	if l.Router, err = l.newRouter(); err != nil {
		return err
	}
	for index := 1; index <= nodes; index++ {
		node, err := l.newNode(index)
		if err != nil {
			return err
		}
		l.Nodes = append(l.Nodes, node)
		if err := node.SetPools(); err != nil {
			return err
		}
	}
	return nil
}

// newNetns makes a namespace that the lab deletes when it closes. A closed lab makes none.
func (l *Lab) newNetns(name string) (*Netns, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("add network namespace %s-%s: the lab is closed", l.prefix, name)
	}
	n, err := NewNetns(l.prefix + "-" + name)
	if err == nil {
		l.netns = append(l.netns, n)
	}
	return n, err
}

// Close ends every process in the lab's namespaces and removes the namespaces and the folder. Closing
// twice is not an error.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	labs.remove(l)
	var errs []error
	for _, n := range slices.Backward(l.netns) {
		errs = append(errs, n.Delete())
	}
	return errors.Join(append(errs, os.RemoveAll(l.Dir))...)
}

// StartRouting starts BIRD everywhere and birdd on the nodes, and waits until every session is up, the
// router forwards every pool, and every node has its default routes.
func (l *Lab) StartRouting(ctx context.Context) error {
	if err := l.Router.start(ctx, l.Nodes); err != nil {
		return err
	}
	for _, n := range l.Nodes {
		if err := n.startRouting(ctx); err != nil {
			return err
		}
	}
	if err := l.Router.Bird.AwaitEstablished(ctx, 2*len(l.Nodes)); err != nil {
		return err
	}
	if err := l.AwaitSummaries(ctx); err != nil {
		return err
	}
	for _, n := range l.Nodes {
		if err := n.awaitRoutes(ctx, []string{"default via " + n.Router6.String(), "default via " + n.Router4.String()}); err != nil {
			return err
		}
	}
	return nil
}

// AwaitSummaries waits until the router's kernel forwards the pools of every node, as they are now.
func (l *Lab) AwaitSummaries(ctx context.Context) error {
	var want []string
	for _, n := range l.Nodes {
		want = append(want, n.Pool6.String()+" via "+n.Address6.String(), n.Pool4.String()+" via "+n.Address4.String())
	}
	return l.Router.awaitRoutes(ctx, want)
}

// awaitRoutes waits until BIRD has put all these routes into the namespace's main table; each is the
// beginning of what "ip route" shows.
func (n *Netns) awaitRoutes(ctx context.Context, want []string) error {
	return Within(ctx, 30*time.Second, n.Name+" has its routes by BGP", func() error {
		routes, err := n.Routes(ctx, "proto", "bird")
		for _, route := range want {
			if err == nil && !strings.Contains("\n"+routes, "\n"+route+" ") {
				err = fmt.Errorf("%q is not among\n%s", route, routes)
			}
		}
		return err
	})
}

func writeNodeFile(path string, pools []netip.Prefix) error {
	var spec nodefile.Spec
	for _, p := range pools {
		spec.Pools = append(spec.Pools, pool.Spec{CIDR: p.String()})
	}
	return nodefile.Write(path, spec)
}
