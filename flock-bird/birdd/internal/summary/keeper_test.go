// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// host is a network namespace with the links "pod1" and "pod2", a store and a keeper.
type host struct {
	*testing.T
	netns *lab.Netns
	store store.Store
	conn  *rtnl.Conn
	*Keeper
}

func newHost(t *testing.T) *host {
	t.Helper()
	netns, err := lab.NewNetns(lab.UniqueName("flt-summary"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netns.Delete() })
	h := &host{T: t, netns: netns, store: store.Store{Dir: t.TempDir()}}
	h.ip("link add pod1 up type veth peer name pod2")
	h.ip("link set pod2 up")
	must(t, netns.Do(func() (err error) { h.conn, err = rtnl.Dial(); return err }))
	t.Cleanup(h.conn.Close)
	h.Keeper = NewKeeper(h.conn, h.store)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *host) ip(args string) string {
	h.Helper()
	out, err := h.netns.Run(h.Context(), "ip", strings.Fields(args)...)
	must(h.T, err)
	return out
}

// routes returns flock's routes as ip(8) shows them.
func (h *host) routes() string {
	h.Helper()
	var all strings.Builder
	for _, table := range []string{"main", "7273"} {
		for _, family := range []string{"-6", "-4"} {
			out, err := h.netns.Run(h.Context(), "ip", family, "route", "show", "table", table)
			if err != nil && !strings.Contains(err.Error(), "FIB table does not exist") {
				h.Fatal(err)
			}
			for line := range strings.Lines(out) {
				if !strings.Contains(line, "proto kernel") && !strings.Contains(line, "does not exist") && !strings.Contains(line, "Dump terminated") {
					line = strings.NewReplacer(" pref medium", "", " dev lo", "", " scope link", "").Replace(line)
					fmt.Fprintf(&all, "%s: %s\n", table, strings.TrimSpace(line))
				}
			}
		}
	}
	return all.String()
}

func (h *host) want(routes string) {
	h.Helper()
	if diff := cmp.Diff(tidy(routes), h.routes()); diff != "" {
		h.Errorf("routes (-want +got):\n%s", diff)
	}
}

func tidy(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// apply applies and checks that the same again changes nothing.
func (h *host) apply(w Want) Plan {
	h.Helper()
	done, err := h.Apply(w)
	must(h.T, err)
	again, err := h.Apply(w)
	if err != nil || len(again.Add)+len(again.Delete) > 0 {
		h.Errorf("the same again: %v, %v", again, err)
	}
	return done
}

func wantPools(kind v1alpha1.SummaryRoute, pools ...string) Want {
	w := Want{Type: kind, Table: 7273}
	for _, p := range pools {
		w.Pools = append(w.Pools, netip.MustParsePrefix(p))
	}
	return w
}

const bothPools = `
	main: blackhole 2001:db8:1::/64 proto 72 metric 16
	main: blackhole 10.1.0.0/24 proto 72 metric 16
	7273: blackhole 2001:db8:1::/64 proto 73 metric 16
	7273: blackhole 10.1.0.0/24 proto 73 metric 16
`

func TestInstall(t *testing.T) {
	h := newHost(t)
	h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24"))
	h.want(bothPools)
	for _, deleted := range []string{
		"-6 route del blackhole 2001:db8:1::/64 proto 72", "route del blackhole 10.1.0.0/24 proto 72",
		"-6 route del 2001:db8:1::/64 table 7273", "route del 10.1.0.0/24 table 7273",
	} {
		h.ip(deleted)
		if done := h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24")); len(done.Add) != 1 {
			t.Errorf("after ip %s: %v", deleted, done)
		}
		h.want(bothPools)
	}
}

func TestChangeType(t *testing.T) {
	h := newHost(t)
	h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24"))
	h.apply(wantPools("unreachable", "2001:db8:1::/64", "10.1.0.0/24"))
	h.want(`
		main: unreachable 2001:db8:1::/64 proto 72 metric 16
		main: unreachable 10.1.0.0/24 proto 72 metric 16
		7273: blackhole 2001:db8:1::/64 proto 73 metric 16
		7273: blackhole 10.1.0.0/24 proto 73 metric 16`)
	h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24"))
	h.want(bothPools)
}

func TestStrangersStay(t *testing.T) {
	h := newHost(t)
	strangers := []string{
		"-6 route add blackhole 2001:db8:9::/64 proto 4 metric 16",
		"-6 route add 2001:db8:1::7 dev pod1 proto 72 metric 16",
		"route add unreachable 10.9.0.0/24 proto 4 metric 16",
		"route add 10.1.0.7 dev pod1 proto 72 metric 16",
		"-6 route add blackhole 2001:db8:8::/64 table 7273 proto 4 metric 16",
		"-6 route add 2001:db8:1::f dev pod1 table 7273 proto 73 metric 18",
		"route add blackhole 10.8.0.0/24 table 7273 proto 4 metric 16",
		"route add 10.1.0.15 dev pod1 table 7273 proto 73 metric 18",
		"-6 route add 2001:db8:1::/80 dev pod1 table 7273 proto 73 metric 16",
	}
	for _, s := range strangers {
		h.ip(s)
	}
	before := h.routes()
	h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24"))
	h.apply(wantPools("blackhole"))
	if diff := cmp.Diff(before, h.routes()); diff != "" {
		t.Errorf("install and remove (-before +after):\n%s", diff)
	}
}

func TestCoveredAddressesAreWithdrawn(t *testing.T) {
	h := newHost(t)
	h.ip("-6 route add 2001:db8:1::7 dev pod1 table 7273 proto 73 metric 16")
	h.ip("-6 route add 2001:db8:2::7 dev pod1 table 7273 proto 73 metric 16")
	h.ip("-6 route add 2001:db8:1::f dev pod1 table 7273 proto 73 metric 18")
	h.ip("route add 10.1.0.7 dev pod1 table 7273 proto 73 metric 16")
	monitor := h.monitor()
	h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24"))
	h.want(`
		main: blackhole 2001:db8:1::/64 proto 72 metric 16
		main: blackhole 10.1.0.0/24 proto 72 metric 16
		7273: 2001:db8:1::f dev pod1 proto 73 metric 18
		7273: blackhole 2001:db8:1::/64 proto 73 metric 16
		7273: 2001:db8:2::7 dev pod1 proto 73 metric 16
		7273: blackhole 10.1.0.0/24 proto 73 metric 16`)
	monitor.order("add 2001:db8:1::/64 in 7273", "delete 2001:db8:1::7/128 in 7273")
	monitor.order("add 10.1.0.0/24 in 7273", "delete 10.1.0.7/32 in 7273")
}

// TestUncoveredAddressesAreAnnounced removes the pools of a living pod, of one whose addresses are fixed,
// of one whose link is gone and of an anycast address.
func TestUncoveredAddressesAreAnnounced(t *testing.T) {
	h := newHost(t)
	h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24"))
	h.claim("pod", "pod1", 7273, "2001:db8:1::7", "10.1.0.7")
	h.claim("fixed", "pod2", 7273, "2001:db8:5::7")
	h.claim("gone", "pod3", 7273, "2001:db8:1::8")
	h.claim("elsewhere", "pod2", 7274, "2001:db8:1::9")
	h.claim("anycast", "pod2", 7273, "*2001:db8:1::f")
	monitor := h.monitor()
	done := h.apply(wantPools("blackhole", "10.1.0.0/24"))
	h.want(`
		main: blackhole 10.1.0.0/24 proto 72 metric 16
		7273: 2001:db8:1::7 dev pod1 proto 73 metric 16
		7273: 2001:db8:5::7 dev pod2 proto 73 metric 16
		7273: blackhole 10.1.0.0/24 proto 73 metric 16`)
	monitor.order("add 2001:db8:1::7/128 in 7273", "delete 2001:db8:1::/64 in 7273")
	if len(done.Add) != 2 || len(done.Delete) != 2 {
		t.Errorf("done %v", done)
	}
	h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24"))
	h.want(`
		main: blackhole 2001:db8:1::/64 proto 72 metric 16
		main: blackhole 10.1.0.0/24 proto 72 metric 16
		7273: blackhole 2001:db8:1::/64 proto 73 metric 16
		7273: 2001:db8:5::7 dev pod2 proto 73 metric 16
		7273: blackhole 10.1.0.0/24 proto 73 metric 16`)
}

// claim notes an attachment's addresses; a star marks anycast ones.
func (h *host) claim(containerID, link string, table uint32, addrs ...string) {
	h.Helper()
	index, err := h.conn.LinkIndex(link)
	must(h.T, err)
	if index == 0 {
		index = 999
	}
	c := claim.Claim{Link: link, LinkIndex: index, Table: table}
	for _, a := range addrs {
		if rest, anycast := strings.CutPrefix(a, "*"); anycast {
			c.Anycast = append(c.Anycast, netip.MustParseAddr(rest))
		} else {
			c.Unicast = append(c.Unicast, netip.MustParseAddr(a))
		}
	}
	a := cni.Attachment{Network: "flock", ContainerID: containerID, IfName: "eth0"}
	keeper := announce.NewBoard(h.conn, h.store).Keeper()
	nothing := func() error { return nil }
	must(h.T, keeper.Take(a, c, func(*store.Tx) error { return nil }, nothing))
}

// TestStoreUnreadable: a summary stays when it cannot be known what it covers.
func TestStoreUnreadable(t *testing.T) {
	h := newHost(t)
	h.apply(wantPools("blackhole", "2001:db8:1::/64", "10.1.0.0/24"))
	must(t, os.Mkdir(filepath.Join(h.store.Dir, "store.db"), 0o700))
	if _, err := h.Apply(wantPools("blackhole")); err == nil {
		t.Error("Apply did not notice")
	}
	h.want(bothPools)
}

func TestPoolOfOneAddress(t *testing.T) {
	h := newHost(t)
	h.ip("-6 route add 2001:db8:1::7 dev pod1 proto 72 metric 16")
	h.apply(wantPools("blackhole", "2001:db8:1::7/128", "10.1.0.7/32"))
	h.want(`
		main: 2001:db8:1::7 dev pod1 proto 72 metric 16
		7273: blackhole 2001:db8:1::7 proto 73 metric 16
		7273: blackhole 10.1.0.7 proto 73 metric 16`)
}

// monitor notes the kernel's changes in their order.
type monitor struct {
	*host
	updates chan netlink.RouteUpdate
	noted   []string
}

func (h *host) monitor() *monitor {
	h.Helper()
	m := &monitor{host: h, updates: make(chan netlink.RouteUpdate, 100)}
	must(h.T, h.netns.Do(func() error { return netlink.RouteSubscribe(m.updates, h.Context().Done()) }))
	return m
}

// await waits until the change was noted, and returns where.
func (m *monitor) await(change string) int {
	m.Helper()
	timeout := time.After(5 * time.Second)
	for !slices.Contains(m.noted, change) {
		select {
		case u := <-m.updates:
			verb := map[uint16]string{unix.RTM_NEWROUTE: "add", unix.RTM_DELROUTE: "delete"}[u.Type]
			m.noted = append(m.noted, fmt.Sprintf("%s %s in %d", verb, u.Dst, u.Table))
		case <-timeout:
			m.Fatalf("no %q in %q", change, m.noted)
		}
	}
	return slices.Index(m.noted, change)
}

func (m *monitor) order(first, second string) {
	m.Helper()
	if m.await(first) > m.await(second) {
		m.Errorf("%q came after %q", first, second)
	}
}
