// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

var (
	uni6 = netip.MustParseAddr("2001:db8::1")
	any6 = netip.MustParseAddr("2001:db8:a::1")
	any4 = netip.MustParseAddr("10.9.9.9")
)

func attachment(id string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: id, IfName: "eth0"}
}

// claimOf returns what the attachment at the link has: one unicast address, and two that all have.
func claimOf(c *rtnl.Conn, link string) claim.Claim {
	index, err := c.LinkIndex(link)
	if err != nil || index == 0 {
		panic("no link " + link)
	}
	return claim.Claim{Link: link, LinkIndex: index, Netns: "/proc/self/ns/net", Table: rtnl.TableAnnounce,
		Unicast: []netip.Addr{uni6}, Anycast: []netip.Addr{any6, any4}}
}

func claimOnly(b *announce.Board, id string, c claim.Claim) error {
	return b.Keeper().Take(attachment(id), c, func(*store.Tx) error { return nil }, func() error { return nil })
}

func TestAnnounceAndWithdraw(t *testing.T) {
	host := hosttest.New(t, "v1", "v2")
	host.Netlink(func(c *rtnl.Conn) error {
		b := announce.NewBoard(c, store.Store{Dir: t.TempDir()})
		shared := claimOf(c, "v2")
		shared.Unicast = nil
		if err := errors.Join(claimOnly(b, "a", claimOf(c, "v1")), claimOnly(b, "b", shared)); err != nil {
			return err
		}
		for _, tt := range []struct {
			do   func(cni.Attachment, netip.Addr) error
			id   string
			addr netip.Addr
			want string
		}{
			{b.Announce, "a", uni6, "2001:db8::1 dev v1 proto 73 metric 16 pref medium"},
			{b.Announce, "a", uni6, "2001:db8::1 dev v1 proto 73 metric 16 pref medium"},
			{b.Withdraw, "b", uni6, "2001:db8::1 dev v1 proto 73 metric 16 pref medium"},
			{b.Withdraw, "a", uni6, ""},
			{b.Withdraw, "a", uni6, ""},
			{b.Withdraw, "nobody", uni6, ""},
			{b.Announce, "a", any6, "2001:db8:a::1 dev v1 proto 73 metric 18 pref medium"},
			{b.Announce, "b", any6, "2001:db8:a::1 dev v1 proto 73 metric 18 pref medium\n2001:db8:a::1 dev v2 proto 73 metric 19 pref medium"},
			{b.Withdraw, "a", any6, "2001:db8:a::1 dev v2 proto 73 metric 19 pref medium"},
			{b.Withdraw, "b", any6, ""},
			{b.Announce, "b", any4, "10.9.9.9 dev v2 proto 73 scope link metric 19"},
			{b.Announce, "a", any4, "10.9.9.9 dev v1 proto 73 scope link metric 18\n10.9.9.9 dev v2 proto 73 scope link metric 19"},
		} {
			if err := tt.do(attachment(tt.id), tt.addr); err != nil {
				t.Errorf("%s %s: %v", tt.id, tt.addr, err)
			}
			if diff := cmp.Diff(tt.want, host.Routes("7273")); diff != "" {
				t.Errorf("routes after %s %s (-want +got):\n%s", tt.id, tt.addr, diff)
			}
		}
		return nil
	})
	host.IP("link del v1")
	if diff := cmp.Diff("10.9.9.9 dev v2 proto 73 scope link metric 19", host.Routes("7273")); diff != "" {
		t.Errorf("routes after the death of a link (-want +got):\n%s", diff)
	}
}

func TestAnnounceWhatIsNotClaimed(t *testing.T) {
	host := hosttest.New(t, "v1")
	host.Netlink(func(c *rtnl.Conn) error {
		b := announce.NewBoard(c, store.Store{Dir: t.TempDir()})
		if err := b.Announce(attachment("a"), uni6); !errors.Is(err, announce.ErrNotClaimed) {
			t.Errorf("Announce for nobody: %v, want ErrNotClaimed", err)
		}
		if err := claimOnly(b, "a", claimOf(c, "v1")); err != nil {
			return err
		}
		if err := b.Announce(attachment("a"), netip.MustParseAddr("10.0.0.77")); !errors.Is(err, announce.ErrNotClaimed) {
			t.Errorf("Announce of another address: %v, want ErrNotClaimed", err)
		}
		return nil
	})
	if got := host.Routes("7273"); got != "" {
		t.Errorf("routes: %s, want none", got)
	}
}

// TestAnnounceAgainstDel lets birdd announce while DEL runs: nothing stays announced for the dead.
func TestAnnounceAgainstDel(t *testing.T) {
	host := hosttest.New(t, "v1")
	dir := t.TempDir()
	for range 50 {
		var both sync.WaitGroup
		host.Netlink(func(c *rtnl.Conn) error {
			return claimOnly(announce.NewBoard(c, store.Store{Dir: dir}), "a", claimOf(c, "v1"))
		})
		both.Go(func() {
			host.Netlink(func(c *rtnl.Conn) error {
				err := announce.NewBoard(c, store.Store{Dir: dir}).Announce(attachment("a"), any6)
				if errors.Is(err, announce.ErrNotClaimed) {
					return nil
				}
				return err
			})
		})
		both.Go(func() {
			host.Netlink(func(c *rtnl.Conn) error {
				nothing := func(*store.Tx) (claim.Claim, error) { return claim.Claim{}, nil }
				return announce.NewBoard(c, store.Store{Dir: dir}).Keeper().Release(attachment("a"), nothing)
			})
		})
		both.Wait()
		if got := host.Routes("7273"); got != "" {
			t.Fatalf("after DEL there is still %s", got)
		}
	}
}

func TestUncovered(t *testing.T) {
	host := hosttest.New(t, "v1")
	for _, command := range []string{
		"-6 route add blackhole 2001:db8::/64 table 7273 proto 73 metric 16",
		"-6 route add blackhole 2001:db8:5::/64 table 7273 proto static metric 16", // a stranger's
		"-6 route add unreachable 2001:db8:6::/64 table 7273 proto 73 metric 16",   // no summary
		"-6 route add blackhole 2001:db8:7::/64 table 7274 proto 73 metric 16",     // another table
		"route add blackhole 10.0.0.0/24 table 7273 proto 73 metric 16",
		"route add 10.1.0.1 dev v1 table 7273 proto 73 metric 16",
	} {
		host.IP(command)
	}
	host.Netlink(func(c *rtnl.Conn) error {
		b := announce.NewBoard(c, store.Store{Dir: t.TempDir()})
		var addrs []netip.Addr
		for text := range strings.FieldsSeq("2001:db8::1 2001:db8:5::1 2001:db8:6::1 2001:db8:7::1 10.0.0.1 10.1.0.1") {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		got, err := b.Uncovered(rtnl.TableAnnounce, addrs)
		if want := "[2001:db8:5::1 2001:db8:6::1 2001:db8:7::1 10.1.0.1]"; err != nil || cmp.Diff(want, join(got)) != "" {
			t.Errorf("Uncovered = %s, %v, want %s", join(got), err, want)
		}
		if got, err := b.Uncovered(4711, addrs[:1]); err != nil || len(got) != 1 {
			t.Errorf("Uncovered of an absent table = %v, %v, want all", got, err)
		}
		return nil
	})
}

func join(addrs []netip.Addr) string {
	var words []string
	for _, a := range addrs {
		words = append(words, a.String())
	}
	return "[" + strings.Join(words, " ") + "]"
}
