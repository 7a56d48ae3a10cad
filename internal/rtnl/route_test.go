// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// route returns a route of flock's to a device.
func route(c *rtnl.Conn, dst, dev string) rtnl.Route {
	link, err := c.LinkIndex(dev)
	if err != nil || link == 0 {
		panic("no link " + dev)
	}
	return rtnl.Route{Dst: netip.MustParsePrefix(dst), Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST, Proto: rtnl.Proto, Metric: rtnl.Metric, Link: link}
}

func TestInstallRoutes(t *testing.T) {
	const v4, v6 = "10.0.0.5/32", "2001:db8::5/128"
	for _, tt := range []struct {
		name   string
		before []string // ip commands
		want   string
		err    string
	}{
		{
			name: "nothing there",
			want: "2001:db8::5 dev v1 proto 72 metric 16 pref medium\n10.0.0.5 dev v1 proto 72 scope link metric 16",
		},
		{
			name:   "there already",
			before: []string{"-6 route add 2001:db8::5 dev v1 proto 72 metric 16", "route add 10.0.0.5 dev v1 proto 72 metric 16"},
			want:   "2001:db8::5 dev v1 proto 72 metric 16 pref medium\n10.0.0.5 dev v1 proto 72 scope link metric 16",
		},
		{
			name:   "one of them there already",
			before: []string{"route add 10.0.0.5 dev v1 proto 72 metric 16"},
			want:   "2001:db8::5 dev v1 proto 72 metric 16 pref medium\n10.0.0.5 dev v1 proto 72 scope link metric 16",
		},
		{
			name:   "a conflict over the second",
			before: []string{"-6 route add 2001:db8::5 dev v2 proto static metric 16"},
			want:   "2001:db8::5 dev v2 proto static metric 16 pref medium\n10.0.0.5 dev v1 proto 72 scope link metric 16",
			err:    "2001:db8::5 has another route already",
		},
		{
			name:   "stale, to another device",
			before: []string{"-6 route add 2001:db8::5 dev v2 proto 72 metric 16", "route add 10.0.0.5 dev v2 proto 72 metric 16"},
			want:   "2001:db8::5 dev v1 proto 72 metric 16 pref medium\n10.0.0.5 dev v1 proto 72 scope link metric 16",
		},
		{
			name:   "a stranger's with another metric",
			before: []string{"-6 route add 2001:db8::5 dev v1 proto boot metric 1024", "route add 10.0.0.5 dev v1 proto boot"},
			want: "2001:db8::5 dev v1 proto 72 metric 16 pref medium\n2001:db8::5 dev v1 metric 1024 pref medium\n" +
				"10.0.0.5 dev v1 scope link\n10.0.0.5 dev v1 proto 72 scope link metric 16",
		},
		{
			name:   "a stranger's to the same device",
			before: []string{"-6 route add 2001:db8::5 dev v1 proto static metric 16", "route add 10.0.0.5 dev v1 proto static metric 16"},
			want:   "2001:db8::5 dev v1 proto static metric 16 pref medium\n10.0.0.5 dev v1 proto static scope link metric 16",
		},
		{
			name:   "a stranger's to another device",
			before: []string{"-6 route add 2001:db8::5 dev v2 proto static metric 16", "route add 10.0.0.5 dev v2 proto static metric 16"},
			want:   "2001:db8::5 dev v2 proto static metric 16 pref medium\n10.0.0.5 dev v2 proto static scope link metric 16",
			err:    "has another route already",
		},
		{
			name:   "a blackhole",
			before: []string{"-6 route add blackhole 2001:db8::5 proto 72 metric 16", "route add blackhole 10.0.0.5 proto 72 metric 16"},
			want:   "blackhole 2001:db8::5 dev lo proto 72 metric 16 pref medium\nblackhole 10.0.0.5 proto 72 metric 16",
			err:    "has another route already: blackhole",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := hosttest.New(t, "v1", "v2")
			for _, command := range tt.before {
				host.IP(command)
			}
			host.Netlink(func(c *rtnl.Conn) error {
				err := c.InstallRoutes(route(c, v4, "v1"), route(c, v6, "v1"))
				var conflict *rtnl.ConflictError
				if (tt.err != "") != errors.As(err, &conflict) || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("InstallRoutes: %v, want an error with %q", err, tt.err)
				}
				return nil
			})
			if diff := cmp.Diff(tt.want, host.Routes("main")); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeleteRoutes(t *testing.T) {
	host := hosttest.New(t, "v1", "v2")
	host.IP("-6 route add 2001:db8::5 dev v1 proto 72 metric 20")
	host.IP("-6 route add 2001:db8::6 dev v2 proto 72 metric 16")
	host.IP("route add 10.0.0.5 dev v1 proto 72 metric 20")
	host.IP("route add 10.0.0.5 dev v1 proto boot")
	host.IP("route add 10.0.0.6 dev v2 proto 72 metric 16")
	host.Netlink(func(c *rtnl.Conn) error {
		for _, tt := range []struct {
			dst  string
			want bool
		}{
			{"2001:db8::5/128", true}, {"2001:db8::5/128", false}, {"2001:db8::6/128", false}, {"2001:db8::7/128", false},
			{"10.0.0.5/32", true}, {"10.0.0.5/32", false}, {"10.0.0.6/32", false}, {"10.0.0.7/32", false},
		} {
			r := route(c, tt.dst, "v1")
			r.Metric = 0
			if deleted, err := c.DeleteRoutes(r); len(deleted) > 0 != tt.want || err != nil {
				t.Errorf("DeleteRoutes(%s) = %v, %v, want it there: %t", r, deleted, err, tt.want)
			}
		}
		gone := route(c, "10.0.0.5/32", "v1")
		gone.Link, gone.Table = 4711, 4711
		if deleted, err := c.DeleteRoutes(gone); deleted != nil || err != nil {
			t.Errorf("DeleteRoutes(%s) = %v, %v, want no route and no error", gone, deleted, err)
		}
		return nil
	})
	want := "2001:db8::6 dev v2 proto 72 metric 16 pref medium\n10.0.0.5 dev v1 scope link\n10.0.0.6 dev v2 proto 72 scope link metric 16"
	if diff := cmp.Diff(want, host.Routes("main")); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestRoutesFilters(t *testing.T) {
	host := hosttest.New(t, "v1", "v2")
	for _, command := range []string{
		"-6 route add blackhole 2001:db8::/64 table 7273 proto 73 metric 16",
		"-6 route add blackhole 2001:db8:1::/64 table 7273 proto static metric 16",
		"-6 route add 2001:db8:9::1 dev v1 table 7273 proto 73 metric 16",
		"-6 route add 2001:db8:9::2 dev v2 table 7273 proto 73 metric 16",
		"-6 route add 2001:db8:9::1 dev v1 proto 72 metric 16",
		"-6 nexthop add id 5 dev v1", "-6 nexthop add id 6 dev v2", "nexthop add id 7 group 5/6",
		"-6 route add 2001:db8:9::3 nhid 7 table 7273 proto 73 metric 16",
		"route add default dev v1 proto static",
	} {
		host.IP(command)
	}
	host.Netlink(func(c *rtnl.Conn) error {
		v1, _ := c.LinkIndex("v1")
		for _, tt := range []struct {
			family int
			like   rtnl.Route
			want   []string
		}{
			{unix.AF_INET6, rtnl.Route{Table: 7273, Proto: 73, Type: unix.RTN_BLACKHOLE}, []string{"blackhole 2001:db8::/64 dev #1 table 7273 proto 73 metric 16"}},
			{unix.AF_INET6, rtnl.Route{Table: 7273, Proto: 73, Link: v1}, []string{
				"2001:db8:9::1/128 dev #2 table 7273 proto 73 metric 16", "2001:db8:9::3/128 nhid 7 table 7273 proto 73 metric 16"}},
			{unix.AF_INET6, rtnl.Route{Table: 7273, Dst: netip.MustParsePrefix("2001:db8:9::2/128")}, []string{"2001:db8:9::2/128 dev #3 table 7273 proto 73 metric 16"}},
			{unix.AF_INET6, rtnl.Route{Table: 4711}, nil},
			{unix.AF_INET, rtnl.Route{Table: 4711}, nil},
			{unix.AF_UNSPEC, rtnl.Route{Table: 4711}, nil},
			{unix.AF_UNSPEC, rtnl.Route{Table: 7273, Link: 4711}, nil},
			{unix.AF_UNSPEC, rtnl.Route{Link: v1, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST}, []string{
				"0.0.0.0/0 dev #2 table 254 proto 4 metric 0", "2001:db8:9::1/128 dev #2 table 254 proto 72 metric 16",
				"fe80::/64 dev #2 table 254 proto 2 metric 256"}},
			{unix.AF_INET, rtnl.Route{Table: unix.RT_TABLE_MAIN}, []string{"0.0.0.0/0 dev #2 table 254 proto 4 metric 0"}},
		} {
			routes, err := c.Routes(tt.family, tt.like)
			if err != nil {
				return err
			}
			var got []string
			for _, r := range routes {
				got = append(got, r.String())
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Routes(%s) (-want +got):\n%s", tt.like, diff)
			}
		}
		return nil
	})
}

func TestLookup(t *testing.T) {
	host := hosttest.New(t, "v1")
	for _, command := range []string{
		"-6 route add blackhole 2001:db8::/64 proto 72 metric 16", "route add blackhole 10.0.0.0/24 proto 72 metric 16",
		"-6 route add unreachable 2001:db8:1::/64", "route add unreachable 10.1.0.0/24",
		"-6 route add 2001:db8::5 dev v1 proto 72 metric 16", "route add 10.0.0.5 dev v1 proto 72 metric 16",
		"-6 route add local 2001:db8::99/128 dev lo", "addr add 10.0.0.99/32 dev v1",
	} {
		host.IP(command)
	}
	host.Netlink(func(c *rtnl.Conn) error {
		for _, tt := range []struct{ addr, want string }{
			{"2001:db8::5", "2001:db8::5/128 dev #2 table 254 proto 72 metric 16"},
			{"10.0.0.5", "10.0.0.5/32 dev #2 table 254 proto 72 metric 16"},
			{"2001:db8::6", "none"}, {"10.0.0.6", "none"},
			{"2001:db8:1::6", "none"}, {"10.1.0.6", "none"},
			{"2001:db8:2::6", "none"}, {"10.2.0.6", "none"},
			{"2001:db8::99", "local 2001:db8::99/128 dev #1 table 255 proto 3 metric 1024"},
			{"10.0.0.99", "local 10.0.0.99/32 dev #2 table 254 proto 2 metric 0"}, // the kernel keeps local and main in one trie
		} {
			routes, err := c.Lookup(netip.MustParseAddr(tt.addr))
			if err != nil {
				return err
			}
			got := "none"
			if routes[0] != (rtnl.Route{}) {
				got = routes[0].String()
			}
			if got != tt.want {
				t.Errorf("Lookup(%s) = %s, want %s", tt.addr, got, tt.want)
			}
		}
		return nil
	})
}

func TestLinkIndex(t *testing.T) {
	hosttest.New(t, "v1").Netlink(func(c *rtnl.Conn) error {
		for name, want := range map[string]int{"lo": 1, "v1": 2, "absent": 0} {
			if got, err := c.LinkIndex(name); got != want || err != nil {
				t.Errorf("LinkIndex(%s) = %d, %v, want %d", name, got, err, want)
			}
		}
		if _, err := c.LinkIndex(strings.Repeat("x", 16)); err == nil {
			t.Error("LinkIndex of a name that no link can have: no error")
		}
		return nil
	})
}

// TestDumpIsWholeOrFails shows that no list is returned that the kernel calls incomplete.
func TestDumpIsWholeOrFails(t *testing.T) {
	calls := 0
	list, err := rtnl.Dump(func() ([]int, error) {
		if calls++; calls < 3 {
			return []int{1}, netlink.ErrDumpInterrupted
		}
		return []int{1, 2}, nil
	})
	if err != nil || len(list) != 2 {
		t.Errorf("Dump = %v, %v, want what the third try got", list, err)
	}
	list, err = rtnl.Dump(func() ([]int, error) { return []int{1}, netlink.ErrDumpInterrupted })
	if err == nil || list != nil {
		t.Errorf("Dump = %v, %v, want an error and no list", list, err)
	}
}
