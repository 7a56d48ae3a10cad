// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"flock.fritzlab.net/flock/test/lab"
)

// RouterASN is the router's AS number; node n's is RouterASN + n.
const RouterASN = 65000

// Router is the top-of-rack router: every node's peer and default route.
type Router struct{ *host }

// startRouter makes the router, which spreads flows over equal paths by their ports too, and starts its BIRD.
func (c *Cluster) startRouter(ctx context.Context) error {
	r := c.Router
	if err := r.group.make(); err != nil {
		return err
	}
	if _, err := lab.NewNetns(r.Name); err != nil {
		return err
	}
	for _, key := range []string{
		"ipv4/ip_forward", "ipv6/conf/all/forwarding",
		"ipv4/fib_multipath_hash_policy", "ipv6/fib_multipath_hash_policy",
	} {
		if err := r.Sysctl(key, "1"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return fmt.Errorf("make the router's folder: %w", err)
	}
	config := filepath.Join(r.Dir, "bird.conf")
	if err := render(config, "router.conf", map[string]any{"ASN": RouterASN, "Nodes": c.Nodes}); err != nil {
		return err
	}
	if err := r.start("bird", "bird", "-f", "-c", config, "-s", r.Socket()); err != nil {
		return err
	}
	return r.await(ctx, "bird", func() error {
		_, err := r.AskBird(ctx, "show status")
		return err
	})
}

// Socket is the control socket of the router's BIRD.
func (r *Router) Socket() string { return filepath.Join(r.Dir, "bird.ctl") }

// AskBird sends the router's BIRD a command and returns its answer.
func (r *Router) AskBird(ctx context.Context, command string) (string, error) {
	out, err := exec.CommandContext(ctx, "birdc", append([]string{"-s", r.Socket()}, strings.Fields(command)...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask the router's BIRD to %s: %w: %s", command, err, out)
	}
	_, answer, _ := strings.Cut(string(out), "ready.\n")
	return answer, nil
}

// Gateway6 is the router's address on the node's link, of IPv6.
func (n *Node) Gateway6() netip.Addr { near, _ := link(n.Number); return pick(near, false) }

// Gateway4 is [Node.Gateway6] of IPv4.
func (n *Node) Gateway4() netip.Addr { near, _ := link(n.Number); return pick(near, true) }

func pick(prefixes []netip.Prefix, v4 bool) netip.Addr {
	for _, p := range prefixes {
		if p.Addr().Is4() == v4 {
			return p.Addr()
		}
	}
	panic("no address of the family")
}
