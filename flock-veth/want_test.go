// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/flock-veth/internal/pair"
)

// ip makes an address of a result; lo of 0 attributes it to the first interface, lo.
func ip(address string, lo ...int) *current.IPConfig {
	addr, n, err := net.ParseCIDR(address)
	if err != nil {
		panic(err)
	}
	config := &current.IPConfig{Address: net.IPNet{IP: addr, Mask: n.Mask}}
	for _, i := range lo {
		config.Interface = &i
	}
	return config
}

func TestTakeAddresses(t *testing.T) {
	interfaces := []*current.Interface{{Name: "lo", Sandbox: "/n"}, {Name: "net1", Sandbox: "/n"}}
	for _, test := range []struct {
		name    string
		ips     []*current.IPConfig
		want    string
		wantErr string
	}{
		{"dual", []*current.IPConfig{ip("2001:db8::5/128"), ip("10.0.0.5/32")}, "[2001:db8::5 10.0.0.5] []", ""},
		{"subnets", []*current.IPConfig{ip("10.0.0.5/24"), ip("2001:db8::5/64")}, "[10.0.0.5 2001:db8::5] []", ""},
		{"anycast", []*current.IPConfig{ip("2001:db8:a::1/128", 0), ip("2001:db8::5/128")}, "[2001:db8::5] [2001:db8:a::1]", ""},
		{"another plugin's", []*current.IPConfig{ip("10.9.9.9/24", 1), ip("10.0.0.5/32")}, "[10.0.0.5] []", ""},
		{"none", nil, "", "there is none"},
		{"only another plugin's", []*current.IPConfig{ip("10.9.9.9/24", 1)}, "", "there is none"},
		{"only anycast", []*current.IPConfig{ip("2001:db8:a::1/128", 0)}, "", "there is none"},
		{"anycast without a way back", []*current.IPConfig{ip("10.0.0.5/32"), ip("2001:db8:a::1/128", 0)}, "",
			"take anycast address 2001:db8:a::1: the pod has no unicast address of its family"},
		{"gateway", []*current.IPConfig{ip("169.254.1.1/32")}, "", "take address 169.254.1.1: it is the pod's gateway"},
		{"no address", []*current.IPConfig{{}}, "", "read address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s pair.Spec
			err := takeAddresses(&s, test.ips, before(&current.Result{Interfaces: interfaces}))
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("takeAddresses = %v, want an error with %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(s.Unicast, s.Anycast); got != test.want {
				t.Errorf("takeAddresses = %s, want %s", got, test.want)
			}
		})
	}
}

func route(dst string, change ...func(*types.Route)) *types.Route {
	_, n, err := net.ParseCIDR(dst)
	if err != nil {
		panic(err)
	}
	r := &types.Route{Dst: *n}
	for _, f := range change {
		f(r)
	}
	return r
}

func TestTakeRoutes(t *testing.T) {
	main, other := 254, 100
	gateway := func(r *types.Route) { r.GW = net.ParseIP("10.1.0.1") }
	options := func(r *types.Route) { r.Priority, r.MTU, r.AdvMSS = 7, 1400, 1360 }
	for _, test := range []struct {
		name   string
		ips    []*current.IPConfig
		listed []*types.Route
		want   string
	}{
		{"none listed", []*current.IPConfig{ip("10.0.0.5/32"), ip("2001:db8::5/128")}, nil,
			"route default, route default"},
		{"defaults listed", []*current.IPConfig{ip("10.0.0.5/32"), ip("2001:db8::5/128")},
			[]*types.Route{route("::/0"), route("0.0.0.0/0")}, "route default, route default"},
		{"one family listed", []*current.IPConfig{ip("10.0.0.5/32"), ip("2001:db8::5/128")},
			[]*types.Route{route("10.0.0.0/8", gateway)}, "route 10.0.0.0/8, route default"},
		{"no address of the family", []*current.IPConfig{ip("10.0.0.5/32")},
			[]*types.Route{route("::/0"), route("0.0.0.0/0")}, "route default"},
		{"the gateways", []*current.IPConfig{ip("10.0.0.5/32"), ip("2001:db8::5/128")},
			[]*types.Route{route("169.254.1.1/32"), route("fe80::1/128")}, "route default, route default"},
		{"options", []*current.IPConfig{ip("10.0.0.5/32")}, []*types.Route{route("10.0.0.0/8", options)},
			"route 10.0.0.0/8 metric 7 mtu 1400 advmss 1360"},
		{"tables", []*current.IPConfig{ip("10.0.0.5/32")}, []*types.Route{
			route("10.0.0.0/8", func(r *types.Route) { r.Table = &main }),
			route("10.0.0.0/8", func(r *types.Route) { r.Table = &other }),
		}, "route 10.0.0.0/8, route 10.0.0.0/8 table 100"},
		{"twice", []*current.IPConfig{ip("10.0.0.5/32")}, []*types.Route{route("10.0.0.0/8"), route("10.0.0.0/8", gateway)},
			"route 10.0.0.0/8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s pair.Spec
			if err := takeAddresses(&s, test.ips, everything); err != nil {
				t.Fatal(err)
			}
			if err := takeRoutes(&s, test.listed); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range s.Routes {
				got = append(got, strings.Replace(r.String(), " dev ", "", 1))
			}
			if diff := cmp.Diff(test.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("takeRoutes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTakeRoutesRefusesAMaskOfHoles(t *testing.T) {
	s := pair.Spec{}
	if err := takeAddresses(&s, []*current.IPConfig{ip("10.0.0.5/32")}, everything); err != nil {
		t.Fatal(err)
	}
	holes := &types.Route{Dst: net.IPNet{IP: net.IPv4(10, 0, 0, 0), Mask: net.IPMask{255, 0, 255, 0}}}
	if err := takeRoutes(&s, []*types.Route{holes}); err == nil {
		t.Error("takeRoutes of a mask with holes: no error")
	}
}
