// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

func ipNet(s string) net.IPNet {
	n, err := types.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return *n
}

func TestHostInterface(t *testing.T) {
	sandboxed := &current.Interface{Name: "eth0", Sandbox: "/run/netns/x"}
	host := &current.Interface{Name: "veth0"}
	got, err := HostInterface(&current.Result{Interfaces: []*current.Interface{sandboxed, host, {Name: "veth1"}}})
	if err != nil || got != host {
		t.Errorf("HostInterface = %v, %v, want veth0", got, err)
	}
	_, err = HostInterface(&current.Result{Interfaces: []*current.Interface{sandboxed}})
	if coded := (*types.Error)(nil); !errors.As(err, &coded) || coded.Code != CodeNoHostInterface {
		t.Errorf("without a host-side interface: %v, want code %d", err, CodeNoHostInterface)
	}
}

func TestAddresses(t *testing.T) {
	result := &current.Result{
		Interfaces: []*current.Interface{{Name: "eth0"}, {Name: "lo"}},
		IPs: []*current.IPConfig{
			{Address: ipNet("2001:db8::1/128"), Interface: current.Int(0)},
			{Address: ipNet("192.0.2.1/24")},
			{Address: ipNet("2001:db8::a/128"), Interface: current.Int(1)},
		},
	}
	unicast, anycast, err := Addresses(result)
	if err != nil {
		t.Fatal(err)
	}
	if want := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}; !slices.Equal(unicast, want) {
		t.Errorf("unicast %v, want %v", unicast, want)
	}
	if want := []netip.Addr{netip.MustParseAddr("2001:db8::a")}; !slices.Equal(anycast, want) {
		t.Errorf("anycast %v, want %v", anycast, want)
	}
	for _, bad := range []*current.IPConfig{{}, {Address: ipNet("::1/128"), Interface: current.Int(2)}} {
		if _, _, err := Addresses(&current.Result{Interfaces: result.Interfaces, IPs: []*current.IPConfig{bad}}); err == nil {
			t.Errorf("Addresses accepted %+v", bad)
		}
	}
}

func TestPrefixOf(t *testing.T) {
	good := map[string]net.IPNet{
		"192.0.2.1/24":    ipNet("192.0.2.1/24"),
		"2001:db8::1/128": ipNet("2001:db8::1/128"),
		"192.0.2.2/32":    {IP: net.IPv4(192, 0, 2, 2), Mask: net.CIDRMask(32, 32)}, // in its 16-byte form
	}
	for want, n := range good {
		got, err := PrefixOf(n)
		if err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("PrefixOf(%v) = %v, %v, want %s", n, got, err, want)
		}
		if back := IPNet(got); back.String() != want {
			t.Errorf("IPNet(%v) = %v", got, back)
		}
	}
	bad := []net.IPNet{
		{}, {IP: net.IPv4(192, 0, 2, 1)}, {Mask: net.CIDRMask(8, 32)},
		{IP: net.ParseIP("::ffff:192.0.2.1"), Mask: net.CIDRMask(120, 128)}, // IPv4-mapped IPv6
		{IP: net.IPv4(192, 0, 2, 1), Mask: net.IPv4Mask(255, 0, 255, 0)},
		{IP: net.IP{1, 2, 3}, Mask: net.CIDRMask(8, 32)},
	}
	for _, n := range bad {
		if got, err := PrefixOf(n); err == nil {
			t.Errorf("PrefixOf(%v) = %v, want an error", n, got)
		}
	}
}

func TestHostPrefix(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::1/128"} {
		if got := HostPrefix(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("HostPrefix(%s) = %v, want %s", addr, got, want)
		}
	}
}
