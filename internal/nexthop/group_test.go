// SPDX-License-Identifier: Apache-2.0

package nexthop_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/nexthop"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

var (
	any4 = netip.MustParseAddr("10.9.9.9")
	any6 = netip.MustParseAddr("2001:db8::9")
)

func anycast(c *rtnl.Conn, addr netip.Addr) nexthop.Anycast {
	return nexthop.Anycast{Conn: c, Addr: addr, Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Metric: rtnl.Metric}
}

// change joins ("+v1") or leaves ("-v1") with both addresses.
func change(host *hosttest.Host, steps ...string) {
	host.Netlink(func(c *rtnl.Conn) error {
		for _, step := range steps {
			link, err := c.LinkIndex(step[1:])
			if err != nil {
				return err
			}
			for _, addr := range []netip.Addr{any6, any4} {
				do := anycast(c, addr).Join
				if step[0] == '-' {
					do = anycast(c, addr).Leave
				}
				if err := do(link); err != nil {
					return fmt.Errorf("%s: %w", step, err)
				}
			}
		}
		return nil
	})
}

const (
	viaOne  = "2001:db8::9 nhid N proto 72 metric 16 pref medium\nnexthop dev v1 weight 1\n10.9.9.9 nhid N dev v1 proto 72 scope link metric 16"
	viaBoth = "2001:db8::9 nhid N proto 72 metric 16 pref medium\nnexthop dev v1 weight 1\nnexthop dev v2 weight 1\n" +
		"10.9.9.9 nhid N proto 72 scope link metric 16\nnexthop dev v1 weight 1\nnexthop dev v2 weight 1"
)

func TestJoinAndLeave(t *testing.T) {
	for _, tt := range []struct {
		name    string
		steps   []string
		want    string
		objects int // of both families
	}{
		{"join", []string{"+v1"}, viaOne, 4},
		{"join twice", []string{"+v1", "+v1"}, viaOne, 4},
		{"join two", []string{"+v1", "+v2"}, viaBoth, 6},
		{"join two twice", []string{"+v1", "+v2", "+v1", "+v2"}, viaBoth, 6},
		{"one leaves", []string{"+v1", "+v2", "-v2"}, viaOne, 4},
		{"one leaves twice", []string{"+v1", "+v2", "-v2", "-v2"}, viaOne, 4},
		{"one never joined", []string{"+v1", "-v2"}, viaOne, 4},
		{"last leaves", []string{"+v1", "+v2", "-v1", "-v2"}, "", 0},
		{"leave before join", []string{"-v1"}, "", 0},
		{"leave and join again", []string{"+v1", "-v1", "+v1", "+v2"}, viaBoth, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := hosttest.New(t, "v1", "v2")
			change(host, tt.steps...)
			if diff := cmp.Diff(tt.want, host.Routes("main")); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
			if got := count(host); got != tt.objects {
				t.Errorf("%d nexthop objects, want %d:\n%s", got, tt.objects, host.Nexthops())
			}
		})
	}
}

// count returns the number of nexthop objects in the host.
func count(host *hosttest.Host) (n int) {
	host.Netlink(func(c *rtnl.Conn) error {
		objects, err := nexthop.List(c)
		n = len(objects)
		return err
	})
	return n
}

// TestDeviceDeath shows that the kernel takes a dead device out by itself, with nobody running.
func TestDeviceDeath(t *testing.T) {
	host := hosttest.New(t, "v1", "v2")
	change(host, "+v1", "+v2")
	host.IP("link del v2")
	if diff := cmp.Diff(viaOne, host.Routes("main")); diff != "" {
		t.Errorf("routes after the first death (-want +got):\n%s", diff)
	}
	host.IP("link del v1")
	if got := host.Routes("main") + host.Nexthops(); got != "" {
		t.Errorf("after the last death there is still:\n%s", got)
	}
	host.AddPod("v1")
	change(host, "-v1", "+v1")
	if diff := cmp.Diff(viaOne, host.Routes("main")); diff != "" {
		t.Errorf("routes after a new join (-want +got):\n%s", diff)
	}
}

// TestKilled begins where a killed process stopped: the repetition and what follows leave nothing over.
func TestKilled(t *testing.T) {
	for _, tt := range []struct {
		name   string
		parts  int // of member, group
		repeat []string
		want   string
	}{
		{"after the member, repeated", 1, []string{"+v1"}, viaOne},
		{"after the group, repeated", 2, []string{"+v1"}, viaOne},
		{"after the member, removed", 1, []string{"-v1"}, ""},
		{"after the group, removed", 2, []string{"-v1"}, ""},
		{"after the group, repeated and removed", 2, []string{"+v1", "-v1"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := hosttest.New(t, "v1", "v2")
			leaveHalf(t, host, tt.parts)
			change(host, tt.repeat...)
			if diff := cmp.Diff(tt.want, host.Routes("main")); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
			change(host, "-v1")
			if got := host.Nexthops(); got != "" {
				t.Errorf("in the end there is still:\n%s", got)
			}
		})
	}
}

// leaveHalf joins and then makes the state that a join killed before its route leaves: the objects of an
// address stay where they are when the route alone is deleted.
func leaveHalf(t *testing.T, host *hosttest.Host, parts int) {
	t.Helper()
	change(host, "+v1")
	host.IP("-6 route del 2001:db8::9")
	host.IP("route del 10.9.9.9")
	if parts == 2 {
		return
	}
	host.Netlink(func(c *rtnl.Conn) error {
		objects, err := nexthop.List(c)
		for _, o := range objects {
			if o.Members != nil {
				err = errors.Join(err, nexthop.Delete(c, o.ID))
			}
		}
		return err
	})
}

// TestForeignIDs shows that strangers keep the IDs that they have, also those that flock would take.
func TestForeignIDs(t *testing.T) {
	host := hosttest.New(t, "v1", "v2")
	change(host, "+v1", "+v2")
	taken := ids(host)
	change(host, "-v1", "-v2")
	for _, id := range taken {
		host.IP(fmt.Sprintf("-6 nexthop add id %d dev v1 proto static", id))
	}
	before := host.Nexthops()
	change(host, "+v1", "+v2")
	if diff := cmp.Diff(viaBoth, host.Routes("main")); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	change(host, "+v1", "-v1", "-v2")
	if diff := cmp.Diff(before, host.Nexthops()); diff != "" {
		t.Errorf("nexthops (-want +got):\n%s", diff)
	}
}

func ids(host *hosttest.Host) (ids []uint32) {
	host.Netlink(func(c *rtnl.Conn) error {
		objects, err := nexthop.List(c)
		for _, o := range objects {
			ids = append(ids, o.ID)
		}
		return err
	})
	return ids
}

// TestHiddenRoute shows that a policy rule which leads the node's own packets elsewhere does not hide from
// Join what is in the table.
func TestHiddenRoute(t *testing.T) {
	host := hosttest.New(t, "v1", "v2", "v3")
	for _, family := range []string{"-6", "-4"} {
		host.IP(family + " rule add pref 100 lookup 100")
		host.IP(family + " route add default dev v3 table 100")
	}
	change(host, "+v1", "+v1", "+v2", "+v2")
	if diff := cmp.Diff(viaBoth, host.Routes("main")); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if got := count(host); got != 6 {
		t.Errorf("%d nexthop objects, want 6:\n%s", got, host.Nexthops())
	}
}

func TestJoinConflict(t *testing.T) {
	for _, before := range []string{"route add 10.9.9.9 dev v2 proto static metric 16", "route add blackhole 10.9.9.9 metric 16"} {
		host := hosttest.New(t, "v1", "v2")
		host.IP(before)
		want := host.Routes("main")
		host.Netlink(func(c *rtnl.Conn) error {
			link, _ := c.LinkIndex("v1")
			err := anycast(c, any4).Join(link)
			if conflict := (*rtnl.ConflictError)(nil); !errors.As(err, &conflict) {
				t.Errorf("Join beside %q: %v, want a conflict", before, err)
			}
			return anycast(c, any4).Leave(link)
		})
		if got := host.Routes("main") + host.Nexthops(); got != want {
			t.Errorf("left:\n%s\nwant:\n%s", got, want)
		}
	}
}

func TestJoinDeadDevice(t *testing.T) {
	hosttest.New(t).Netlink(func(c *rtnl.Conn) error {
		if err := anycast(c, any6).Join(4711); err == nil || !strings.Contains(err.Error(), "2001:db8::9") {
			t.Errorf("Join of a device that is not there: %v, want an error that names the address", err)
		}
		if err := anycast(c, any6).Leave(4711); err != nil {
			t.Errorf("Leave of a device that is not there: %v", err)
		}
		return nil
	})
}

// TestJoinWhileOthersLeave lets devices leave and die around one that joins over and over.
func TestJoinWhileOthersLeave(t *testing.T) {
	host := hosttest.New(t, "v1", "v2", "v3")
	ctx, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() {
		for ctx.Err() == nil {
			change(host, "-v2", "-v1")
		}
	})
	others.Go(func() {
		for ctx.Err() == nil {
			host.IP("link set v3 down")
			host.IP("link set v3 up")
		}
	})
	for start := time.Now(); time.Since(start) < 500*time.Millisecond; {
		host.Netlink(func(c *rtnl.Conn) error {
			for _, name := range []string{"v1", "v2", "v3"} {
				link, _ := c.LinkIndex(name)
				if err := anycast(c, any6).Join(link); err != nil && !errors.Is(err, unix.ENETDOWN) {
					t.Errorf("join %s: %v", name, err)
				}
			}
			return nil
		})
	}
	stop()
	others.Wait()
	awaitUp(t, host, "v3")
	change(host, "-v1", "-v2", "-v3")
	if got := host.Routes("main") + host.Nexthops(); got != "" {
		t.Errorf("when all have left there is still:\n%s", got)
	}
	change(host, "+v1", "+v2", "+v3", "-v3")
	if diff := cmp.Diff(viaBoth, host.Routes("main")); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func awaitUp(t *testing.T, host *hosttest.Host, link string) {
	t.Helper()
	err := lab.Within(context.Background(), 5*time.Second, link+" is up", func() error {
		if out := host.IP("link show " + link); !strings.Contains(out, "LOWER_UP") {
			return errors.New(out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
