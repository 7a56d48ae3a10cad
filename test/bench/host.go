// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// newHost makes a node as the plugins find one: an uplink with default routes, and forwarding on.
func (b *bench) newHost(name string) (*lab.Netns, error) {
	host, err := lab.NewNetns(name)
	if err != nil {
		return nil, err
	}
	b.netns = append(b.netns, host)
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := host.Sysctl(key, "1"); err != nil {
			return nil, err
		}
	}
	return host, host.Netlink(addUplink)
}

func addUplink(h *netlink.Handle) error {
	uplink := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "uplink", MTU: 1500}, PeerName: "router"}
	router := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: uplink.PeerName}}
	if err := errors.Join(h.LinkAdd(uplink), h.LinkSetUp(uplink), h.LinkSetUp(router)); err != nil {
		return fmt.Errorf("add the uplink: %w", err)
	}
	for _, line := range []struct{ address, router string }{{"192.0.2.2/24", "192.0.2.1"}, {"2001:db8::2/64", "2001:db8::1"}} {
		address := ipNet(netip.MustParsePrefix(line.address))
		if err := h.AddrAdd(uplink, &netlink.Addr{IPNet: address, Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add %s to the uplink: %w", line.address, err)
		}
		if err := h.RouteAdd(&netlink.Route{LinkIndex: uplink.Index, Gw: net.ParseIP(line.router)}); err != nil {
			return fmt.Errorf("add the default route via %s: %w", line.router, err)
		}
	}
	return nil
}

// addSummaries adds the pools as birdd does, so that flock-bird finds every pod covered.
func addSummaries(h *netlink.Handle) error {
	for _, text := range []string{pool6Text, pool4Text} {
		for table, proto := range map[int]netlink.RouteProtocol{unix.RT_TABLE_MAIN: rtnl.Proto, rtnl.TableAnnounce: rtnl.ProtoAnnounce} {
			route := &netlink.Route{Dst: ipNet(netip.MustParsePrefix(text)), Type: unix.RTN_BLACKHOLE, Table: table, Protocol: proto, Priority: rtnl.Metric}
			if err := h.RouteAdd(route); err != nil {
				return fmt.Errorf("add summary %s to table %d: %w", text, table, err)
			}
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	n := cni.IPNet(p)
	return &n
}
