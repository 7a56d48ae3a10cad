// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
)

// ptpConflist is the reference network's: before flock's by name.
const ptpConflist = "etc/cni/net.d/00-ptp.conflist"

// UsePtp makes the reference plugins ptp and host-local the network of every node, dual-stack, and the router's routes
// to it static. Pods that the nodes have are left alone.
func (c *Cluster) UsePtp(ctx context.Context) error {
	for _, n := range c.Nodes {
		if err := n.usePtp(ctx); err != nil {
			return fmt.Errorf("give %s the reference network: %w", n.Name, err)
		}
	}
	return nil
}

// ptpPools are what host-local allocates from: not flock's pools.
func (n *Node) ptpPools() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("2001:db8:244:%d::/64", 200+n.Number)),
		netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", 200+n.Number)),
	}
}

func (n *Node) usePtp(ctx context.Context) error {
	pools := n.ptpPools()
	for _, p := range pools {
		_, far := link(n.Number)
		if _, err := n.cluster.Router.Run(ctx, "ip", "route", "replace", p.String(), "via", pick(far, p.Addr().Is4()).String()); err != nil {
			return err
		}
	}
	// containerd notices a rename inside the folder.
	temporary := "/" + ptpConflist + ".new"
	return n.Do(func() error {
		if err := render(temporary, "ptp.conflist", pools); err != nil {
			return err
		}
		return os.Rename(temporary, "/"+ptpConflist)
	})
}

// ForgetPtp undoes [Cluster.UsePtp]; where it was not done that is no error.
func (c *Cluster) ForgetPtp(ctx context.Context) error {
	for _, n := range c.Nodes {
		err := n.Do(func() error { return os.Remove("/" + ptpConflist) })
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, p := range n.ptpPools() {
			if err == nil {
				_, err = c.Router.Run(ctx, "ip", "route", "del", p.String())
			}
		}
		if err != nil {
			return fmt.Errorf("take the reference network from %s: %w", n.Name, err)
		}
	}
	return nil
}
