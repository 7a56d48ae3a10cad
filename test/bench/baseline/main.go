// SPDX-License-Identifier: Apache-2.0

// Command baseline is a CNI plugin of nothing but skel and netlink, for the start of flock's plugins to
// be compared with.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func main() {
	verb := func(args *skel.CmdArgs) error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		link, err := h.LinkByName(args.IfName)
		if err != nil {
			return err
		}
		return h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index})
	}
	skel.PluginMainFuncs(skel.CNIFuncs{Add: verb, Del: verb, Check: verb}, version.All, "baseline")
}
