// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// floor is what four processes and the kernel cost without any plugin's own work: four starts of an
// empty program, fed and read as libcni does, and then a dual-stack attachment's netlink calls in this
// process.
type floor struct {
	host  *lab.Netns
	empty string
}

func startFloor(b *bench, host *lab.Netns, _ string) (attacher, error) {
	return &floor{host: host, empty: filepath.Join(b.extra, "empty")}, nil
}

// addressesOf gives every pod of the run its own, by the number in its name.
func addressesOf(p *lab.Pod) (six, four netip.Addr, err error) {
	n, err := strconv.Atoi(strings.TrimPrefix(p.Pod.Name, "p"))
	if err != nil {
		return six, four, fmt.Errorf("number pod %s: %w", p.Pod.Name, err)
	}
	low := []byte{byte(n >> 8), byte(n)}
	six16 := netip.MustParsePrefix(pool6Text).Addr().As16()
	copy(six16[14:], low)
	four4 := netip.MustParsePrefix(pool4Text).Addr().As4()
	copy(four4[2:], low)
	return netip.AddrFrom16(six16), netip.AddrFrom4(four4), nil
}

func (f *floor) startPrograms(ctx context.Context) error {
	for range 4 {
		cmd := exec.CommandContext(ctx, f.empty)
		cmd.Stdin = strings.NewReader(strings.Repeat(" ", 1000))
		cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("start the empty program: %w", err)
		}
	}
	return nil
}

// Add does what ADD cannot do without.
func (f *floor) Add(ctx context.Context, p *lab.Pod) error {
	six, four, err := addressesOf(p)
	if err := errors.Join(err, f.startPrograms(ctx)); err != nil {
		return err
	}
	pod, err := netns.GetFromPath(p.Path())
	if err != nil {
		return err
	}
	defer pod.Close()
	return f.host.Netlink(func(h *netlink.Handle) error {
		ph, err := netlink.NewHandleAt(pod, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer ph.Close()
		return attach(h, ph, pod, name(p), six, four)
	})
}

// Del removes the routes and the link.
func (f *floor) Del(ctx context.Context, p *lab.Pod) error {
	six, four, err := addressesOf(p)
	if err := errors.Join(err, f.startPrograms(ctx)); err != nil {
		return err
	}
	return f.host.Netlink(func(h *netlink.Handle) error {
		link, err := h.LinkByName(name(p))
		if err != nil {
			return err
		}
		for _, route := range hostRoutes(link, six, four) {
			if err := h.RouteDel(route); err != nil {
				return err
			}
		}
		return h.LinkDel(link)
	})
}

func name(p *lab.Pod) string { return rtnl.HostName(p.ContainerID, "eth0") }

var hostMAC = net.HardwareAddr{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}

func attach(h, ph *netlink.Handle, pod netns.NsHandle, name string, six, four netip.Addr) error {
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500, HardwareAddr: hostMAC},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(pod),
	}
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	if err := h.LinkSetUp(veth); err != nil {
		return fmt.Errorf("set the host side up: %w", err)
	}
	eth0, err := ph.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := ph.LinkSetUp(eth0); err != nil {
		return fmt.Errorf("set the pod side up: %w", err)
	}
	if err := podSide(ph, eth0, six, four); err != nil {
		return err
	}
	return hostSide(h, veth, eth0, six, four)
}

var (
	gateway6 = netip.MustParseAddr("fe80::1")
	gateway4 = netip.MustParseAddr("169.254.1.1")
)

func podSide(ph *netlink.Handle, eth0 netlink.Link, addrs ...netip.Addr) error {
	index := eth0.Attrs().Index
	for _, addr := range addrs {
		if err := ph.AddrAdd(eth0, &netlink.Addr{IPNet: ipNet(cni.HostPrefix(addr)), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add address: %w", err)
		}
	}
	for _, route := range []*netlink.Route{
		{LinkIndex: index, Dst: ipNet(cni.HostPrefix(gateway4)), Scope: netlink.SCOPE_LINK},
		{LinkIndex: index, Gw: gateway4.AsSlice()},
		{LinkIndex: index, Gw: gateway6.AsSlice()},
	} {
		if err := ph.RouteAdd(route); err != nil {
			return fmt.Errorf("add pod route %s: %w", route, err)
		}
	}
	return addNeighbours(ph, index, hostMAC, gateway6, gateway4)
}

func hostSide(h *netlink.Handle, veth, eth0 netlink.Link, addrs ...netip.Addr) error {
	// Not a /64: a forwarding host joins its subnet's anycast address, which makes DEL twice as long.
	address := ipNet(cni.HostPrefix(gateway6))
	if err := h.AddrAdd(veth, &netlink.Addr{IPNet: address, Flags: unix.IFA_F_NODAD}); err != nil {
		return fmt.Errorf("add the gateway's address: %w", err)
	}
	for _, route := range hostRoutes(veth, addrs...) {
		if err := h.RouteAdd(route); err != nil {
			return fmt.Errorf("add host route %s: %w", route, err)
		}
	}
	return addNeighbours(h, veth.Attrs().Index, eth0.Attrs().HardwareAddr, addrs...)
}

func hostRoutes(link netlink.Link, addrs ...netip.Addr) []*netlink.Route {
	var routes []*netlink.Route
	for _, addr := range addrs {
		routes = append(routes, &netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipNet(cni.HostPrefix(addr)),
			Scope: netlink.SCOPE_LINK, Protocol: rtnl.Proto, Priority: rtnl.Metric,
		})
	}
	return routes
}

func addNeighbours(h *netlink.Handle, index int, mac net.HardwareAddr, addrs ...netip.Addr) error {
	for _, addr := range addrs {
		if err := h.NeighSet(&netlink.Neigh{LinkIndex: index, IP: addr.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT}); err != nil {
			return fmt.Errorf("add neighbour %s: %w", addr, err)
		}
	}
	return nil
}
