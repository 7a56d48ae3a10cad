// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/flock-veth/internal/pair"
	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/plugins/cni"
)

// before places the addresses of a result that earlier plugins made: one without an interface is for
// the pair.
func before(r *current.Result) func(*current.IPConfig) place {
	return func(ip *current.IPConfig) place {
		switch {
		case ip.Interface == nil:
			return onInterface
		case isLoopback(r.Interfaces[*ip.Interface]):
			return onLoopback
		}
		return elsewhere
	}
}

// after places the addresses of a result that flock-veth had its part in: the pair's are attributed to
// the interface of its name.
func after(r *current.Result, ifName string) func(*current.IPConfig) place {
	return func(ip *current.IPConfig) place {
		switch {
		case ip.Interface == nil:
			return elsewhere
		case isLoopback(r.Interfaces[*ip.Interface]):
			return onLoopback
		case isPodEnd(r.Interfaces[*ip.Interface], ifName):
			return onInterface
		}
		return elsewhere
	}
}

// everything is the pair's in the result of a plugin that flock-veth delegated to.
func everything(*current.IPConfig) place { return onInterface }

func isLoopback(i *current.Interface) bool { return i.Name == wire.Loopback.Name }

func isPodEnd(i *current.Interface, ifName string) bool { return i.Name == ifName && i.Sandbox != "" }

// extend returns the result that a pair adds to an earlier one. Anycast addresses come last, because
// runtimes take the first address of each family for the pod's.
func extend(prev *current.Result, s pair.Spec, where func(*current.IPConfig) place, netns string) *current.Result {
	result := &current.Result{CNIVersion: current.ImplementedSpecVersion, DNS: prev.DNS, Routes: resultRoutes(s)}
	result.Interfaces = append(result.Interfaces, prev.Interfaces...)
	pod := len(prev.Interfaces) + 1
	result.Interfaces = append(result.Interfaces,
		&current.Interface{Name: s.HostName, Mac: pair.HostMAC.String(), Mtu: s.MTU},
		&current.Interface{Name: s.IfName, Mac: s.PodMAC.String(), Mtu: s.MTU, Sandbox: netns})
	var anycast []*current.IPConfig
	for _, ip := range prev.IPs {
		switch where(ip) {
		case onLoopback:
			anycast = append(anycast, ip)
		case onInterface:
			result.IPs = append(result.IPs, onPair(ip, pod))
		default:
			result.IPs = append(result.IPs, ip)
		}
	}
	result.IPs = append(result.IPs, anycast...)
	return result
}

// onPair returns an address as the pod has it, whatever subnet and gateway its plugin thought of.
func onPair(ip *current.IPConfig, pod int) *current.IPConfig {
	prefix, _ := cni.PrefixOf(ip.Address) // takeAddresses has read it
	addr := prefix.Addr()
	return &current.IPConfig{
		Interface: current.Int(pod),
		Address:   cni.IPNet(cni.HostPrefix(addr)),
		Gateway:   net.IP(pair.Gateway(addr).AsSlice()),
	}
}

func resultRoutes(s pair.Spec) (routes []*types.Route) {
	for _, r := range s.Routes {
		route := &types.Route{
			Dst:      cni.IPNet(r.Dst),
			GW:       net.IP(pair.Gateway(r.Dst.Addr()).AsSlice()),
			Priority: r.Metric,
			MTU:      r.MTU,
			AdvMSS:   r.AdvMSS,
		}
		if r.Table != 0 {
			route.Table = &r.Table
		}
		routes = append(routes, route)
	}
	return routes
}

// recorded completes the spec of a pair from the final result that the runtime kept of it.
func recorded(s *pair.Spec, r *current.Result) error {
	var host, pod *current.Interface
	for _, i := range r.Interfaces {
		switch {
		case i.Name == s.HostName && i.Sandbox == "":
			host = i
		case isPodEnd(i, s.IfName):
			pod = i
		}
	}
	if host == nil || pod == nil {
		return fmt.Errorf("read prevResult: it does not name %s on the host and %s in the pod", s.HostName, s.IfName)
	}
	for _, end := range []struct {
		*current.Interface
		mac wire.MAC
	}{{host, pair.HostMAC}, {pod, s.PodMAC}} {
		if end.Mac != "" && end.Mac != end.mac.String() {
			return fmt.Errorf("compare link %s: prevResult has MAC address %s, not %s", end.Name, end.Mac, end.mac)
		}
	}
	s.MTU = host.Mtu // 0 before version 1.1.0, and not compared then
	if err := takeAddresses(s, r.IPs, after(r, s.IfName)); err != nil {
		return err
	}
	return takeRoutes(s, r.Routes)
}
