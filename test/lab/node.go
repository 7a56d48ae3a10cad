// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// Node is a Kubernetes node as far as flock sees one: a network namespace with a link to the router,
// and a tree of files of its own below Dir.
type Node struct {
	*Netns
	// Name is "node1", "node2", …; Index counts from 1.
	Name  string
	Index int
	Dir   string
	// ASN is the node's AS number.
	ASN int
	// Address6 and Address4 are the node's own, on its link to the router; Router6 and Router4 are
	// the router's on that link.
	Address6, Address4 netip.Addr
	Router6, Router4   netip.Addr
	// Pool6 and Pool4 are what its pods get addresses from.
	Pool6, Pool4 netip.Prefix
	// Bird and Birdd run once routing was started: BIRD reads what birdd renders.
	Bird  *Bird
	Birdd *Process
	// Kubernetes, where set, is where birdd gets its NodeConfig from, rather than from NodeConfigFile.
	Kubernetes *Kubernetes
	// Ipamd runs once [Node.StartIpamd] was called.
	Ipamd *Process
	// Runtime runs the node's conflist once flock is installed.
	Runtime *Runtime

	lab *Lab
}

// Uplink is the node's link to the router.
const Uplink = "eth0"

func (l *Lab) newNode(index int) (*Node, error) {
	name := fmt.Sprintf("node%d", index)
	routerEnd, nodeEnd := link(index)
	n := &Node{
		Name: name, Index: index, Dir: filepath.Join(l.Dir, name), ASN: RouterASN + index,
		Address6: nodeEnd[0].Addr(), Address4: nodeEnd[1].Addr(),
		Router6: routerEnd[0].Addr(), Router4: routerEnd[1].Addr(),
		Pool6: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/64", index)),
		Pool4: netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", index)),
		lab:   l,
	}
	var err error
	if n.Netns, err = l.newNetns(name); err != nil {
		return nil, err
	}
	for _, dir := range []string{n.BinDir(), n.confDir(), n.CacheDir(), n.StateDir(), n.birdDir(), filepath.Dir(n.NodeFile())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return n, fmt.Errorf("make the folders of %s: %w", name, err)
		}
	}
	cable := Cable{MTU: l.mtu,
		A: End{Netns: l.Router.Netns, Name: name, Addresses: routerEnd},
		B: End{Netns: n.Netns, Name: Uplink, Addresses: nodeEnd},
	}
	return n, cable.Lay()
}

// StateDir is the stages' stateDir on the node.
func (n *Node) StateDir() string { return filepath.Join(n.Dir, "run/flock") }

// NodeFile is the node's node.json.
func (n *Node) NodeFile() string { return filepath.Join(n.Dir, "var/lib/flock/node.json") }

// Conflist is where the installer puts the node's conflist.
func (n *Node) Conflist() string { return filepath.Join(n.confDir(), "01-flock.conflist") }

// BinDir is the node's folder of plugins.
func (n *Node) BinDir() string { return filepath.Join(n.Dir, "opt/cni/bin") }

// CacheDir is where libcni keeps the node's results.
func (n *Node) CacheDir() string { return filepath.Join(n.Dir, "var/lib/cni") }

// address returns the node's own address of the family.
func (n *Node) address(v4 bool) netip.Addr {
	if v4 {
		return n.Address4
	}
	return n.Address6
}

func (n *Node) confDir() string { return filepath.Join(n.Dir, "etc/cni/net.d") }
func (n *Node) birdDir() string { return filepath.Join(n.Dir, "etc/flock/bird") }

// Lab returns the lab that the node is part of.
func (n *Node) Lab() *Lab { return n.lab }

// SetPools writes node.json with the pools, the node's own two unless others are given.
func (n *Node) SetPools(pools ...netip.Prefix) error {
	if len(pools) == 0 {
		pools = []netip.Prefix{n.Pool6, n.Pool4}
	}
	return writeNodeFile(n.NodeFile(), pools)
}

// Install puts flock's plugins and conflist on the node by flock-installer, with more of its flags
// where wanted, and reads the conflist that it wrote.
func (n *Node) Install(ctx context.Context, flags ...string) error {
	args := append([]string{"install", "--from", n.lab.bin,
		"--bin-dir", n.BinDir(), "--conf-dir", n.confDir(),
		"--rt-protos-dir", filepath.Join(n.Dir, "etc/iproute2/rt_protos.d"),
		"--rt-tables-dir", filepath.Join(n.Dir, "etc/iproute2/rt_tables.d"),
		"--record", filepath.Join(n.Dir, "var/lib/flock/installed.json"),
		"--state-dir", n.StateDir(), "--node-file", n.NodeFile(),
		"--socket", filepath.Join(n.StateDir(), "ipamd.sock"),
	}, flags...)
	if _, err := n.Run(ctx, filepath.Join(n.lab.bin, "flock-installer"), args...); err != nil {
		return err
	}
	conflist, err := os.ReadFile(n.Conflist())
	if err != nil {
		return fmt.Errorf("read the conflist of %s: %w", n.Name, err)
	}
	n.Runtime, err = NewRuntime(n.Netns, conflist, []string{n.BinDir()}, n.CacheDir())
	return err
}

// NewPod makes the sandbox of a pod on the node; see [Pod] for its annotations. The lab deletes it.
func (n *Node) NewPod(name string, annotations map[string]string) (*Pod, error) {
	netns, err := n.lab.newNetns(name)
	if err != nil {
		return nil, err
	}
	return newPod(netns, name, annotations), nil
}

// State is [Netns.State] with the allocations of the node's store.
func (n *Node) State(ctx context.Context) ([]string, error) {
	kernel, err := n.Netns.State(ctx)
	allocations, aerr := Allocations(n.StateDir())
	if err := errors.Join(err, aerr); err != nil {
		return nil, err
	}
	state := append(kernel, allocations...)
	slices.Sort(state)
	return state, nil
}
