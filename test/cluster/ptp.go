// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
)

// Names of the reference network's conflist: a runtime takes the first of its folder, and flock's is 01-flock.conflist.
const (
	BeforeFlock = "00-ptp.conflist"
	AfterFlock  = "10-ptp.conflist"
)

// UsePtp gives every node the reference plugins ptp and host-local as the conflist of that name, for IPv4 and where
// wanted IPv6, and the router static routes to their pods. Pods that the nodes have are left alone.
func (c *Cluster) UsePtp(ctx context.Context, name string, ipv6 bool) error {
	for _, n := range c.Nodes {
		if err := n.usePtp(ctx, name, ipv6); err != nil {
			return fmt.Errorf("give %s the reference network: %w", n.Name, err)
		}
	}
	return nil
}

// ptpPools are what host-local allocates from: not flock's pools.
func (n *Node) ptpPools() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", 200+n.Number)),
		netip.MustParsePrefix(fmt.Sprintf("2001:db8:244:%d::/64", 200+n.Number)),
	}
}

func (n *Node) usePtp(ctx context.Context, name string, ipv6 bool) error {
	pools := n.ptpPools()
	if !ipv6 {
		pools = pools[:1]
	}
	for _, p := range pools {
		_, far := link(n.Number)
		if _, err := n.cluster.Router.Run(ctx, "ip", "route", "replace", p.String(), "via", pick(far, p.Addr().Is4()).String()); err != nil {
			return err
		}
	}
	return n.writeConflist(name, "ptp.conflist", pools)
}

// UseFlockIPAM gives the node ptp as its main plugin with the addresses of flock's pools, before flock's conflist.
// [Cluster.ForgetPtp] undoes it.
func (n *Node) UseFlockIPAM() error { return n.writeConflist(BeforeFlock, "mixed.conflist", nil) }

// writeConflist renders a conflist of the node. containerd notices a rename inside the folder, and no file that comes
// from another.
func (n *Node) writeConflist(name, template string, values any) error {
	path := confDir + name
	return n.Do(func() error {
		if err := render(path+".new", template, values); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	})
}

const confDir = "/etc/cni/net.d/"

// ForgetPtp undoes [Cluster.UsePtp]; where it was not done that is no error.
func (c *Cluster) ForgetPtp(ctx context.Context) error {
	for _, n := range c.Nodes {
		if err := n.forgetPtp(ctx); err != nil {
			return fmt.Errorf("take the reference network from %s: %w", n.Name, err)
		}
	}
	return nil
}

func (n *Node) forgetPtp(ctx context.Context) error {
	err := n.Do(func() error { return errors.Join(remove(confDir+BeforeFlock), remove(confDir+AfterFlock)) })
	if err != nil {
		return err
	}
	for _, family := range []string{"-4", "-6"} {
		pools := slices.DeleteFunc(n.ptpPools(), func(p netip.Prefix) bool { return p.Addr().Is4() != (family == "-4") })
		if _, err := n.cluster.Router.Run(ctx, "ip", family, "route", "flush", pools[0].String()); err != nil {
			return err
		}
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
