// SPDX-License-Identifier: Apache-2.0

package nexthop_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/nexthop"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// prefer runs steps with the two routes of both addresses: "+v1" joins and "-v1" leaves as flock-route does,
// "^v1" joins and "_v1" drops the device at the better metric, as birdd does.
func prefer(host *hosttest.Host, steps ...string) {
	host.Netlink(func(c *rtnl.Conn) error {
		for _, step := range steps {
			link, err := c.LinkIndex(step[1:])
			if err != nil {
				return err
			}
			for _, addr := range []netip.Addr{any6, any4} {
				all := anycast(c, addr)
				better := all
				better.Metric, better.Resilient = rtnl.MetricReady, true
				do := map[byte]func(int) error{'+': all.Join, '-': all.Leave, '^': better.Join, '_': better.Drop}[step[0]]
				if err := do(link); err != nil {
					return fmt.Errorf("%s: %w", step, err)
				}
			}
		}
		return nil
	})
}

// metrics returns the devices of each metric's route, as "8: v1, 16: v1 v2", and complains where the
// two families differ.
func metrics(t *testing.T, host *hosttest.Host) string {
	t.Helper()
	var picture [2]string
	host.Netlink(func(c *rtnl.Conn) error {
		groups, err := nexthop.Groups(c)
		if err != nil {
			return err
		}
		for i, family := range []int{unix.AF_INET6, unix.AF_INET} {
			routes, err := c.Routes(family, rtnl.Route{Proto: rtnl.Proto})
			if err != nil {
				return err
			}
			picture[i] = describe(c, routes, groups)
		}
		return nil
	})
	if diff := cmp.Diff(picture[0], picture[1]); diff != "" {
		t.Errorf("IPv4 differs from IPv6 (-6 +4):\n%s", diff)
	}
	return picture[0]
}

func describe(c *rtnl.Conn, routes []rtnl.Route, groups map[uint32][]int) string {
	slices.SortFunc(routes, func(a, b rtnl.Route) int { return int(a.Metric) - int(b.Metric) })
	var parts []string
	for _, r := range routes {
		part := fmt.Sprintf("%d:", r.Metric)
		for _, link := range groups[r.Group] {
			name, err := c.LinkName(link)
			if err != nil {
				name = err.Error()
			}
			part += " " + name
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func TestMetrics(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []string
		want  string
	}{
		{"one of two preferred", []string{"+v1", "+v2", "^v2"}, "8: v2, 16: v1 v2"},
		{"preferred twice", []string{"+v1", "+v2", "^v2", "^v2"}, "8: v2, 16: v1 v2"},
		{"both preferred", []string{"+v1", "+v2", "^v2", "^v1"}, "8: v2 v1, 16: v1 v2"},
		{"one of two dropped", []string{"+v1", "+v2", "^v2", "^v1", "_v2"}, "8: v1, 16: v1 v2"},
		{"last dropped", []string{"+v1", "+v2", "^v2", "_v2"}, "16: v1 v2"},
		{"dropped twice", []string{"+v1", "^v1", "_v1", "_v1"}, "16: v1"},
		{"dropped, not preferred", []string{"+v1", "+v2", "^v2", "_v1"}, "8: v2, 16: v1 v2"},
		{"dropped, nothing there", []string{"_v1"}, ""},
		{"preferred first", []string{"^v1", "+v1"}, "8: v1, 16: v1"},
		{"joined while another is preferred", []string{"+v1", "^v1", "+v2"}, "8: v1, 16: v1 v2"},
		{"joined again while another is preferred", []string{"+v1", "^v1", "+v2", "+v2"}, "8: v1, 16: v1 v2"},
		{"preferred one leaves", []string{"+v1", "+v2", "^v1", "^v2", "-v1"}, "8: v2, 16: v2"},
		{"only preferred one leaves", []string{"+v1", "+v2", "^v1", "-v1"}, "16: v2"},
		{"all leave", []string{"+v1", "+v2", "^v1", "-v1", "-v2"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := hosttest.New(t, "v1", "v2")
			prefer(host, tt.steps...)
			if diff := cmp.Diff(tt.want, metrics(t, host)); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
			prefer(host, "-v1", "-v2")
			if got := host.Routes("main") + host.Nexthops(); got != "" {
				t.Errorf("when all have left there is still:\n%s", got)
			}
		})
	}
}

// TestFallback shows that the kernel falls back to those that are not preferred, with nobody running.
func TestFallback(t *testing.T) {
	host := hosttest.New(t, "v1", "v2")
	prefer(host, "+v1", "+v2", "^v1")
	host.IP("link del v1")
	if diff := cmp.Diff("16: v2", metrics(t, host)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

// TestFlowsStay shows that a device that leaves or joins a resilient group moves no flow between others.
func TestFlowsStay(t *testing.T) {
	host := hosttest.New(t, "v1", "v2", "v3")
	if err := host.Sysctl("ipv6/fib_multipath_hash_policy", "1"); err != nil {
		t.Fatal(err)
	}
	prefer(host, "+v1", "+v2", "+v3", "^v1", "^v2", "^v3")
	var batch strings.Builder
	for sport := range 200 {
		fmt.Fprintf(&batch, "route get %s ipproto udp sport %d dport 53\n", any6, 2000+sport)
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	flows := func() []string {
		var links []string
		for line := range strings.Lines(host.IP("-6 -batch " + file)) {
			if _, rest, found := strings.Cut(line, " dev "); found {
				links = append(links, strings.Fields(rest)[0])
			}
		}
		return links
	}
	before := flows()
	for _, link := range []string{"v1", "v2", "v3"} {
		if !slices.Contains(before, link) {
			t.Fatalf("no flow of %d goes to %s", len(before), link)
		}
	}
	for _, step := range []string{"_v3", "^v3"} {
		prefer(host, step)
		moved := 0
		for i, link := range flows() {
			if before[i] != "v3" && before[i] != link {
				moved++
			}
		}
		if moved > 0 {
			t.Errorf("after %s %d of %d flows have moved between the others", step, moved, len(before))
		}
	}
}
