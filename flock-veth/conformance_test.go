// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni/cnitest"
	"flock.fritzlab.net/flock/test/build"
)

var versions = []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}

func TestConformanceChained(t *testing.T) {
	cnitest.Run(t, cnitest.Plugin{
		Binary:   program,
		Stands:   cnitest.Chained,
		Versions: versions,
		PrevResult: func(_ cnitest.Host, a cnitest.Attachment) (*current.Result, error) {
			return &current.Result{
				CNIVersion: "1.1.0",
				Interfaces: []*current.Interface{{Name: "lo", Sandbox: a.Netns}},
				IPs: []*current.IPConfig{
					ip(fmt.Sprintf("2001:db8:1::%x/128", a.Index)),
					ip(fmt.Sprintf("10.1.0.%d/32", a.Index)),
					ip(fmt.Sprintf("2001:db8:a::%x/128", a.Index), 0),
				},
			}, nil
		},
		Break: breaks,
	})
}

func TestConformanceOriginating(t *testing.T) {
	reference, err := build.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cnitest.Run(t, cnitest.Plugin{
		Binary:   program,
		Versions: versions,
		Path:     []string{reference},
		Conf: func(dir string) map[string]any {
			return map[string]any{"ipam": map[string]any{"type": "host-local", "dataDir": dir, "ranges": []any{
				[]any{map[string]any{"subnet": "10.1.0.0/16"}}, []any{map[string]any{"subnet": "2001:db8:1::/64"}}}}}
		},
		Break: breaks,
	})
}

var breaks = []cnitest.Difference{
	{Name: "link removed", Want: "missing on the host", Do: onLink(func(h *netlink.Handle, link netlink.Link) error {
		return h.LinkDel(link)
	})},
	{Name: "link down", Want: "is down", Do: onLink(func(h *netlink.Handle, link netlink.Link) error {
		return h.LinkSetDown(link)
	})},
	{Name: "neighbour removed", Want: "the host lacks neighbour", Do: onLink(func(h *netlink.Handle, link netlink.Link) error {
		neighs, err := h.NeighList(link.Attrs().Index, nl.FAMILY_V4)
		if err != nil || len(neighs) == 0 {
			return fmt.Errorf("%d neighbours: %w", len(neighs), err)
		}
		return h.NeighDel(&neighs[0])
	})},
}

// onLink damages the host's end of the pair.
func onLink(f func(*netlink.Handle, netlink.Link) error) func(cnitest.Host, cnitest.Attachment) error {
	return func(_ cnitest.Host, a cnitest.Attachment) error {
		h, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer h.Close()
		link, err := h.LinkByName(rtnl.HostName(a.ContainerID, a.IfName))
		if err != nil {
			return err
		}
		return f(h, link)
	}
}
