// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
)

func TestNetns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "left-behind")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sighting, err := Netns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		netns   string
		want    bool
		unknown bool
	}{
		{netns: "/proc/self/ns/net", want: true},
		{netns: file},
		{netns: filepath.Join(filepath.Dir(file), "gone")},
		{netns: "/proc/4194305/ns/net"}, // above the highest process ID
		{netns: ""},
		{netns: "/absent/netns/cni-1", unknown: true},
	} {
		got, err := sighting(store.Allocation{Netns: test.netns})
		if got != test.want || (err != nil) != test.unknown {
			t.Errorf("%q: seen %v, %v; want %v, and an error: %v", test.netns, got, err, test.want, test.unknown)
		}
	}
}

func TestLinksAndRoutes(t *testing.T) {
	host := hosttest.New(t, "v1", "x1")
	host.IP("link set v1 alias flock:flock/a/eth0")
	for _, command := range []string{
		"route add 10.0.0.1 dev v1 proto 72 metric 16",
		"route add 10.0.0.0/24 dev v1 proto 72 metric 16",
		"route add 10.0.0.2 dev x1 proto 72 metric 16",
		"-6 route add 2001:db8::1 dev v1 proto 73 table 7273 metric 16",
		"route add 10.0.0.3 dev v1 proto static",
		"route add blackhole 10.0.0.0/16",
		"-6 route add default dev v1",
	} {
		host.IP(command)
	}
	host.Netlink(func(c *rtnl.Conn) error {
		v1, err1 := c.LinkIndex("v1")
		x1, err2 := c.LinkIndex("x1")
		sighting, err3 := Links(context.Background())
		routes, err4 := KernelRoutes()
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		for id, want := range map[string]bool{"a": true, "b": false} {
			if got, err := sighting(store.Allocation{Attachment: attachment(id)}); got != want || err != nil {
				t.Errorf("container %s: seen %v, %v; want %v", id, got, err, want)
			}
		}
		want := map[string][]int{"10.0.0.1": {v1}, "10.0.0.2": {x1}, "2001:db8::1": {v1}}
		got := map[string][]int{}
		for addr, links := range routes.Leads {
			got[addr.String()] = links
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("routed addresses (-want +got):\n%s", diff)
		}
		if got, want := fmt.Sprint(routes.Attached), "10.0.0.1"; len(routes.Attached) != 1 || fmt.Sprint(routes.Attached[0].Addresses) != "["+want+"]" {
			t.Errorf("attached %s, want %s alone", got, want)
		}
		if !routes.Linked[attachment("a")] || routes.Linked[attachment("b")] {
			t.Errorf("linked %v, want a alone", routes.Linked)
		}
		for addr, want := range map[string]bool{
			"10.0.0.1": true, "10.0.0.3": true, "10.0.0.4": false, "10.0.1.1": false, "192.0.2.1": false, "2001:db8::1": false, "fd00::1": false,
		} {
			if got, err := routes.Host(netip.MustParseAddr(addr)); got != want || err != nil {
				t.Errorf("route for %s alone: %v, %v; want %v", addr, got, err, want)
			}
		}
		return nil
	})
}

func TestRoutesLead(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	for _, test := range []struct {
		name  string
		leads []int
		link  int
		want  bool
	}{
		{"none", nil, 5, false},
		{"to the link", []int{5}, 5, true},
		{"to another link", []int{6}, 5, false},
		{"to several links", []int{0}, 5, true},
		{"claimed for any link", []int{6}, 0, true},
	} {
		r := Routes{Leads: map[netip.Addr][]int{addr: test.leads}}
		c := claim.Claim{LinkIndex: test.link, Anycast: []netip.Addr{addr}}
		if got := r.lead(c); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
