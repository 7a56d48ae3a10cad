// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"text/template"
	"time"

	"github.com/vishvananda/netlink"

	"flock.fritzlab.net/flock/plugins/cni"
)

// RouterASN is the router's AS number; node n's is RouterASN + n.
const RouterASN = 65000

//go:embed router.conf
var routerConf string

// Router is the top-of-rack router: every node's peer and default route.
type Router struct {
	*Netns
	Dir string
	// Bird speaks BGP to the nodes once routing was started.
	Bird *Bird
}

// newRouter makes the router forward, and spread flows over equal paths by their ports too.
func (l *Lab) newRouter() (*Router, error) {
	netns, err := l.newNetns("tor")
	if err != nil {
		return nil, err
	}
	r := &Router{Netns: netns, Dir: filepath.Join(l.Dir, "tor")}
	for _, key := range []string{
		"ipv4/ip_forward", "ipv6/conf/all/forwarding",
		"ipv4/fib_multipath_hash_policy", "ipv6/fib_multipath_hash_policy",
	} {
		if err := r.Sysctl(key, "1"); err != nil {
			return nil, err
		}
	}
	return r, os.MkdirAll(r.Dir, 0o755)
}

// link returns the addresses of the cable to node n: the router's end is .1, the node's .2.
func link(n int) (router, node []netip.Prefix) {
	for host, end := range map[int]*[]netip.Prefix{1: &router, 2: &node} {
		*end = []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("fd00:%d::%d/64", n, host)),
			netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/24", n, host)),
		}
	}
	return router, node
}

// start runs the router's BIRD with one session a node and family.
func (r *Router) start(ctx context.Context, nodes []*Node) error {
	config := filepath.Join(r.Dir, "bird.conf")
	var text bytes.Buffer
	tmpl := template.Must(template.New("router.conf").Parse(routerConf))
	if err := tmpl.Execute(&text, map[string]any{"ASN": RouterASN, "Nodes": nodes}); err != nil {
		return fmt.Errorf("render the router's bird.conf: %w", err)
	}
	if err := os.WriteFile(config, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the router's bird.conf: %w", err)
	}
	var err error
	r.Bird, err = r.StartBird(ctx, config, filepath.Join(r.Dir, "bird.ctl"))
	return err
}

// AwaitHops waits until the router's kernel reaches the address by a route of its own through exactly
// these nodes, or, where none is given, has no such route.
func (r *Router) AwaitHops(ctx context.Context, limit time.Duration, a netip.Addr, nodes ...*Node) error {
	want := map[netip.Addr]bool{}
	for _, n := range nodes {
		want[n.address(a.Is4())] = true
	}
	return Within(ctx, limit, fmt.Sprintf("the router reaches %s through %d nodes", a, len(nodes)), func() error {
		have, err := r.Hops(a)
		if err != nil {
			return err
		}
		if !maps.Equal(have, want) {
			return fmt.Errorf("its next hops are %v, not %v", slices.Collect(maps.Keys(have)), slices.Collect(maps.Keys(want)))
		}
		return nil
	})
}

// Hops returns the next hops of the /128 or /32 of an address in the namespace's main table.
func (n *Netns) Hops(a netip.Addr) (map[netip.Addr]bool, error) {
	dst := cni.IPNet(cni.HostPrefix(a))
	family := netlink.FAMILY_V6
	if a.Is4() {
		family = netlink.FAMILY_V4
	}
	hops := map[netip.Addr]bool{}
	err := n.Netlink(func(h *netlink.Handle) error {
		routes, err := h.RouteListFiltered(family, &netlink.Route{Dst: &dst}, netlink.RT_FILTER_DST)
		for _, route := range routes {
			for _, hop := range append(route.MultiPath, &netlink.NexthopInfo{Gw: route.Gw}) {
				if gw, ok := netip.AddrFromSlice(hop.Gw); ok {
					hops[gw.Unmap()] = true
				}
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the routes of %s to %s: %w", n.Name, a, err)
	}
	return hops, nil
}
