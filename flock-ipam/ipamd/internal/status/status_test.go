// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/nodejson"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/usage"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/plugins/cni"
)

// used returns a pool of which so much is used.
func used(name, cidr string, committed, cooling int, free uint64) usage.Pool {
	return usage.Pool{Pool: pool.Pool{Name: name, Prefix: netip.MustParsePrefix(cidr)}, Committed: committed, Cooling: cooling, Free: free}
}

// extended returns a pool that has an allocator.
func extended(name, cidr, allocator string) usage.Pool {
	p := used(name, cidr, 0, 0, 1)
	p.Allocator = allocator
	return p
}

func stray(addr, name string) usage.Stray {
	return usage.Stray{Address: netip.MustParseAddr(addr), Pod: cni.Pod{Namespace: "default", Name: name, UID: name}}
}

// draw returns the conditions, a line each.
func draw(s v1alpha1.NodeConfigStatus) string {
	var lines []string
	for _, c := range s.Conditions {
		lines = append(lines, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(lines, "\n")
}

func TestConditions(t *testing.T) {
	pools := []usage.Pool{used("v6", "2001:db8::/64", 5, 0, math.MaxUint64), used("v4", "10.0.0.0/24", 5, 1, 7)}
	for _, test := range []struct {
		name string
		view View
		bgp  bool
		want string
	}{
		{name: "serving", view: View{Usage: usage.Usage{Pools: pools}}, want: `PoolsReady=True PoolsServing: 2 pools in service
Ready=True EverythingTrue: the node is well`},
		{name: "serving, announced by birdd", bgp: true, view: View{Usage: usage.Usage{Pools: pools[:1]}}, want: "PoolsReady=True PoolsServing: 1 pool in service"},
		{name: "no pools", view: View{}, want: `PoolsReady=False NoPools: spec.pools is empty: add a pool
Ready=False NoPools: PoolsReady: spec.pools is empty: add a pool`},
		{name: "invalid", bgp: true, view: View{ConfigErr: &nodejson.InvalidError{Name: "n", Err: errors.New("spec.mtu: 1")}, Usage: usage.Usage{Pools: pools}},
			want: "PoolsReady=False InvalidNodeConfig: the pools stay as they were: spec.mtu: 1"},
		{name: "unwritten", bgp: true, view: View{ConfigErr: errors.New("write node.json: full")}, want: "PoolsReady=False NodeFileNotWritten: write node.json: full"},
		{name: "store", bgp: true, view: View{StoreErr: errors.New("open the store")}, want: "PoolsReady=False StoreUnreadable: open the store"},
		{name: "some of a family full", bgp: true, view: View{Usage: usage.Usage{Pools: []usage.Pool{
			used("a", "10.0.0.0/30", 1, 0, 0), used("b", "10.0.1.0/30", 0, 0, 1), used("c", "10.0.2.0/30", 1, 0, 0)}}},
			want: "PoolsReady=True PoolsServing: 3 pools in service"},
		{name: "full but for what cools", bgp: true, view: View{Usage: usage.Usage{Pools: []usage.Pool{used("a", "10.0.0.0/30", 0, 1, 0)}}},
			want: "PoolsReady=True PoolsServing: 1 pool in service"},
		{name: "full", bgp: true, view: View{Usage: usage.Usage{Pools: []usage.Pool{pools[0], used("a", "10.0.0.0/30", 1, 0, 0), used("b", "10.0.1.0/30", 1, 0, 0)}}},
			want: "PoolsReady=False PoolsExhausted: no IPv4 address is left in a, b: add a pool, enlarge one, or remove pods from the node"},
		{name: "full before an allocator's", bgp: true, view: View{Usage: usage.Usage{Pools: []usage.Pool{
			extended("sticky6", "2001:db8::/64", "sticky"), used("v6", "2001:db8:1::/126", 1, 0, 0), used("v4", "10.0.0.0/30", 1, 0, 0), extended("sticky4", "10.0.1.0/30", "sticky")}}},
			want: "PoolsReady=False PoolsExhausted: no IPv4 address is left in v4: add a pool, enlarge one, or remove pods from the node"},
		{name: "cooling before an allocator's", bgp: true, view: View{Usage: usage.Usage{Pools: []usage.Pool{used("v4", "10.0.0.0/30", 0, 1, 0), extended("sticky4", "10.0.1.0/30", "sticky")}}},
			want: "PoolsReady=True PoolsServing: 2 pools in service"},
		{name: "allocator down", bgp: true, view: View{
			Usage:          usage.Usage{Pools: []usage.Pool{used("own", "10.0.0.0/30", 0, 0, 1), extended("shared", "10.0.1.0/30", "sticky"), extended("well", "10.0.2.0/30", "slices")}},
			AllocatorsDown: map[string]error{"sticky": errors.New("it is not up: it ended")}},
			want: "PoolsReady=False AllocatorUnavailable: pool shared: allocator sticky: it is not up: it ended"},
		{name: "draining", bgp: true, view: View{Usage: usage.Usage{Pools: pools}, Draining: []usage.Stray{stray("10.9.0.1", "a")}},
			want: "PoolsReady=True PoolsDraining: 1 address of 1 pod in no pool any more and kept until the pods are gone: 10.9.0.1 (default/a)"},
		{name: "draining many", bgp: true, view: View{Usage: usage.Usage{Pools: pools}, Draining: []usage.Stray{
			stray("10.9.0.1", "a"), stray("2001:db8:9::1", "a"), stray("10.9.0.2", "b"), stray("10.9.0.3", "c"), stray("10.9.0.4", "d")}},
			want: "PoolsReady=True PoolsDraining: 5 addresses of 4 pods in no pool any more and kept until the pods are gone: " +
				"10.9.0.1 (default/a), 2001:db8:9::1 (default/a), 10.9.0.2 (default/b), and 2 more"},
	} {
		test.view.Config = &v1alpha1.NodeConfig{}
		if test.bgp {
			test.view.Config.Spec.BGP = &v1alpha1.BGP{}
		}
		if diff := cmp.Diff(test.want, draw(Of(test.view))); diff != "" {
			t.Errorf("%s: conditions (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestPools(t *testing.T) {
	v := View{Config: &v1alpha1.NodeConfig{}, Usage: usage.Usage{Pools: []usage.Pool{
		{Pool: pool.Pool{Name: "v4", Prefix: netip.MustParsePrefix("10.0.0.0/24")}, Pending: 1, Committed: 2, Cooling: 3, Free: 4},
		used("v6", "2001:db8::/64", 5, 0, math.MaxUint64),
	}}}
	want := []v1alpha1.PoolStatus{
		{Name: "v4", CIDR: "10.0.0.0/24", Allocated: 3, Cooling: 3, Free: 4},
		{Name: "v6", CIDR: "2001:db8::/64", Allocated: 5, Free: 1 << 62},
	}
	got := Of(v)
	if diff := cmp.Diff(want, got.Pools); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
	if columns := got.IPv6 + " " + got.IPv4; columns != "5/2^64 3/10" {
		t.Errorf("columns %q", columns)
	}
}

func TestDraining(t *testing.T) {
	known := map[string]map[string]string{
		"plain": nil,
		"fixed": {annotation.Addresses: "10.9.0.2, 2001:db8:9::2"},
		"wrong": {annotation.Addresses: "nowhere"},
	}
	annotations := func(pod cni.Pod) (map[string]string, bool) { a, is := known[pod.Name]; return a, is }
	outside := []usage.Stray{
		stray("10.9.0.1", "plain"), stray("10.9.0.2", "fixed"), stray("10.9.0.3", "fixed"), stray("10.9.0.4", "wrong"), stray("10.9.0.5", "unknown"),
	}
	want := []string{"10.9.0.1", "10.9.0.3", "10.9.0.4"}
	var got []string
	for _, s := range Draining(outside, annotations) {
		got = append(got, s.Address.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
