// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// BenchmarkSummaries measures how long the kernel takes to name the one blackhole of a table that holds
// device routes too.
func BenchmarkSummaries(b *testing.B) {
	for _, f := range []struct {
		family  int
		summary string
	}{{unix.AF_INET, "10.0.0.0/8"}, {unix.AF_INET6, "2001:db8::/32"}} {
		for _, count := range []int{0, 1_000, 50_000} {
			b.Run(fmt.Sprintf("%s/routes=%d", f.summary, count), func(b *testing.B) {
				hosttest.New(b, "v1").Netlink(func(c *rtnl.Conn) error {
					if err := fill(c, netip.MustParsePrefix(f.summary), count); err != nil {
						return err
					}
					return benchSummaries(b, c, f.family)
				})
			})
		}
	}
}

func benchSummaries(b *testing.B, c *rtnl.Conn, family int) error {
	for b.Loop() {
		routes, err := c.Routes(family, rtnl.Route{Table: rtnl.TableAnnounce, Type: unix.RTN_BLACKHOLE, Proto: rtnl.ProtoAnnounce})
		if err != nil {
			return err
		}
		if len(routes) != 1 {
			return errors.New("not one summary")
		}
	}
	return nil
}

// fill adds the summary and count device routes under it.
func fill(c *rtnl.Conn, summary netip.Prefix, count int) error {
	link, err := c.LinkIndex("v1")
	if err != nil {
		return err
	}
	blackhole := rtnl.Route{Dst: summary, Table: rtnl.TableAnnounce, Type: unix.RTN_BLACKHOLE, Proto: rtnl.ProtoAnnounce, Metric: rtnl.Metric}
	if err := c.AddRoute(blackhole); err != nil {
		return err
	}
	addr := summary.Addr()
	for range count {
		addr = addr.Next()
		r := rtnl.Route{Dst: netip.PrefixFrom(addr, addr.BitLen()), Table: rtnl.TableAnnounce, Type: unix.RTN_UNICAST,
			Proto: rtnl.ProtoAnnounce, Metric: rtnl.Metric, Link: link}
		if err := c.AddRoute(r); err != nil {
			return err
		}
	}
	return nil
}
