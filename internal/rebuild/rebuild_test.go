// SPDX-License-Identifier: Apache-2.0

package rebuild_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/nexthop"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// newHost makes a host with two pods of flock's and one of a stranger's.
func newHost(t *testing.T) *hosttest.Host {
	host := hosttest.New(t, "v1", "v2", "x1")
	host.IP("link set v1 alias flock:flock/c1/eth0")
	host.IP("link set v2 alias flock:blue/c2/net1")
	host.IP("link set x1 alias something/else")
	return host
}

// picture returns what FromKernel finds, one attachment a line.
func picture(host *hosttest.Host) string {
	var lines []string
	host.Netlink(func(*rtnl.Conn) error {
		found, err := rebuild.FromKernel()
		for _, a := range found {
			lines = append(lines, fmt.Sprintf("%s %s %v anycast %v", a.Attachment, a.State, a.Addresses, a.Anycast))
		}
		return err
	})
	return strings.Join(lines, "\n")
}

func TestFromKernel(t *testing.T) {
	for _, tt := range []struct {
		name   string
		routes []string // ip commands
		any    []string // "address link"
		want   string
	}{
		{name: "no routes"},
		{
			name: "both families",
			routes: []string{"-6 route add 2001:db8::5 dev v1 proto 72 metric 16", "route add 10.0.0.5 dev v1 proto 72 metric 16",
				"-6 route add 2001:db8::4 dev v2 proto 72 metric 16"},
			want: "blue/c2/net1 committed [2001:db8::4] anycast []\nflock/c1/eth0 committed [10.0.0.5 2001:db8::5] anycast []",
		},
		{
			name:   "anycast on one",
			routes: []string{"route add 10.0.0.5 dev v1 proto 72 metric 16"},
			any:    []string{"10.9.9.9 v1", "2001:db8::9 v1"},
			want:   "flock/c1/eth0 committed [10.0.0.5] anycast [10.9.9.9 2001:db8::9]",
		},
		{
			name:   "anycast of a ready pod",
			routes: []string{"-6 nexthop add id 5 dev v1 proto 72", "nexthop add id 6 group 5 proto 72", "-6 route add 2001:db8::9 nhid 6 proto 72 metric 8"},
			any:    []string{"2001:db8::9 v1"},
			want:   "flock/c1/eth0 committed [] anycast [2001:db8::9]",
		},
		{
			name: "anycast on two and a stranger",
			any:  []string{"2001:db8::9 v1", "2001:db8::9 v2", "2001:db8::9 x1"},
			want: "blue/c2/net1 committed [] anycast [2001:db8::9]\nflock/c1/eth0 committed [] anycast [2001:db8::9]",
		},
		{
			name: "what is not a pod's",
			routes: []string{
				"route add 10.0.0.0/24 dev v1 proto 72 metric 16", "-6 route add 2001:db8::/64 dev v1 proto 72 metric 16",
				"route add blackhole 10.1.0.0/24 proto 72 metric 16", "-6 route add blackhole 2001:db8:1::1 proto 72 metric 16",
				"route add 10.0.0.6 dev v1 proto static metric 16", "route add 10.0.0.7 dev v1 proto 72 metric 16 table 100",
				"route add 10.0.0.8 dev x1 proto 72 metric 16", "-6 route add 2001:db8::8 dev v1 proto 73 table 7273 metric 16",
				"-6 nexthop add id 5 dev v1", "-6 route add 2001:db8::a nhid 5 proto 72 metric 16",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := newHost(t)
			for _, command := range tt.routes {
				host.IP(command)
			}
			for _, join := range tt.any {
				addr, link, _ := strings.Cut(join, " ")
				host.Netlink(func(c *rtnl.Conn) error {
					index, err := c.LinkIndex(link)
					if err != nil {
						return err
					}
					a := nexthop.Anycast{Conn: c, Addr: netip.MustParseAddr(addr), Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Metric: rtnl.Metric}
					return a.Join(index)
				})
			}
			if diff := cmp.Diff(tt.want, picture(host)); diff != "" {
				t.Errorf("attachments (-want +got):\n%s\nfrom\n%s", diff, host.Routes("main"))
			}
		})
	}
}

// TestDeadPod: what dies with its pod is not found any more, nobody having been told.
func TestDeadPod(t *testing.T) {
	host := newHost(t)
	host.IP("route add 10.0.0.5 dev v1 proto 72 metric 16")
	host.IP("route add 10.0.0.6 dev v2 proto 72 metric 16")
	host.Kill("v1")
	if got, want := picture(host), "blue/c2/net1 committed [10.0.0.6] anycast []"; got != want {
		t.Errorf("attachments\n%s\nwant\n%s", got, want)
	}
}

// TestStore: a damaged store, and one that was removed, begin again with what the kernel shows.
func TestStore(t *testing.T) {
	host := newHost(t)
	host.IP("route add 10.0.0.5 dev v1 proto 72 metric 16")
	for name, spoil := range map[string]func(path string) error{
		"damaged": func(path string) error { return os.Truncate(path, 5000) },
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			s := rebuild.Store(t.TempDir())
			var warnings []string
			s.Warn = func(text string) { warnings = append(warnings, text) }
			lost := store.Allocation{Attachment: cni.Attachment{Network: "flock", ContainerID: "dead", IfName: "eth0"}}
			host.Netlink(func(*rtnl.Conn) error {
				if err := s.Update(func(tx *store.Tx) error { return tx.Put(lost) }); err != nil {
					return err
				}
				if err := spoil(filepath.Join(s.Dir, "store.db")); err != nil {
					return err
				}
				return s.Update(func(*store.Tx) error { return nil })
			})
			if got := owners(t, s); got != "10.0.0.5 flock/c1/eth0" {
				t.Errorf("owners %q, want the kernel's", got)
			}
			if len(warnings) == 0 || !strings.Contains(warnings[len(warnings)-1], "1 allocations") {
				t.Errorf("warnings %q, want one about 1 allocation", warnings)
			}
		})
	}
}

func owners(t *testing.T, s store.Store) string {
	t.Helper()
	var lines []string
	err := s.View(func(tx *store.Tx) error {
		return tx.All(func(a store.Allocation) error {
			for _, addr := range a.Addresses {
				lines = append(lines, fmt.Sprint(addr, " ", a.Attachment))
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
