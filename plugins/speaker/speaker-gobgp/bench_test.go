// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/tor"
)

// BenchmarkAnnounce measures from a route in the announcement table to the route in the router's kernel, with more routes
// beside it.
func BenchmarkAnnounce(b *testing.B) {
	for _, beside := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("beside=%d", beside), func(b *testing.B) {
			s := newSite(b, 1)
			s.announceSummaries()
			s.fill(beside)
			s.start(s.config(tor6(1)), tor.IPv6)
			s.awaitRoutes(beside)
			updates := make(chan netlink.RouteUpdate, 20_000)
			must(b, s.routers[0].Do(func() error { return netlink.RouteSubscribe(updates, b.Context().Done()) }))
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				took = append(took, s.announceOne(i, updates))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(s.memory()), "MiB")
		})
	}
}

// announceOne announces an address and returns how long it took to the router.
func (s *site) announceOne(i int, updates <-chan netlink.RouteUpdate) time.Duration {
	dst := netip.MustParsePrefix(fmt.Sprintf("2001:db8:f::%x/128", i%0xffff+1))
	var start time.Time
	must(s.TB, s.node.Netlink(func(h *netlink.Handle) error {
		link, err := h.LinkByName("pod")
		must(s.TB, err)
		ipnet := netlink.NewIPNet(dst.Addr().AsSlice())
		start = time.Now()
		return h.RouteAdd(&netlink.Route{Dst: ipnet, LinkIndex: link.Attrs().Index, Table: 7273, Protocol: 73, Priority: 20})
	}))
	for u := range updates {
		if u.Type == unix.RTM_NEWROUTE && u.Dst.String() == dst.String() {
			return time.Since(start)
		}
	}
	return 0
}

// fill puts so many addresses into the announcement table.
func (s *site) fill(count int) {
	s.Helper()
	_, err := s.node.Run(s.Context(), "sh", "-c", fmt.Sprintf(
		"seq %d | while read i; do printf 'route add 2001:db8:e::%%x dev pod table 7273 proto 73 metric 20\\n' $i; done | ip -6 -batch -", count))
	must(s.TB, err)
}

// awaitRoutes waits until the router has so many routes besides the pool's.
func (s *site) awaitRoutes(count int) {
	s.Helper()
	s.eventually(fmt.Sprintf("the router has %d routes", count), func() error {
		out, err := s.routers[0].Run(s.Context(), "ip", "-6", "route", "show", "proto", "bird")
		if got := strings.Count(out, "\n"); err == nil && got != count+1 {
			err = fmt.Errorf("it has %d", got)
		}
		return err
	})
}

// memory returns the speaker's resident memory in MiB.
func (s *site) memory() int {
	s.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.client.ReattachConfig().Pid))
	must(s.TB, err)
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib := 0
	fmt.Sscan(rest, &kib)
	return kib / 1024
}

// BenchmarkStart measures from the start of the program to the end of the first Configure.
func BenchmarkStart(b *testing.B) {
	s := newSite(b, 1)
	s.announceSummaries()
	for b.Loop() {
		s.launch()
		s.configure(s.config(tor6(1)))
		b.StopTimer()
		b.ReportMetric(float64(s.memory()), "MiB")
		s.kill()
		b.StartTimer()
	}
}
