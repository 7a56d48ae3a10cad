// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

var (
	eth0 = Dev{Index: 7, Name: "eth0"}
	mac  = MAC{2, 0, 0, 0, 0, 5}
)

func TestStrings(t *testing.T) {
	ip, prefix := netip.MustParseAddr, netip.MustParsePrefix
	for _, test := range []struct {
		object fmt.Stringer
		want   string
	}{
		{eth0, "link eth0"},
		{mac, "02:00:00:00:00:05"},
		{Addr{eth0, prefix("10.0.0.5/32")}, "address 10.0.0.5/32 dev eth0"},
		{Neigh{eth0, ip("fe80::1"), mac}, "neighbour fe80::1 lladdr 02:00:00:00:00:05 dev eth0"},
		{Route{Dev: eth0, Dst: prefix("::/0"), Via: ip("fe80::1")}, "route default via fe80::1 dev eth0"},
		{Route{Dev: eth0, Dst: prefix("169.254.1.1/32")}, "route 169.254.1.1/32 dev eth0"},
		{Route{eth0, prefix("10.0.0.0/8"), ip("169.254.1.1"), 1, 2, 3, 4},
			"route 10.0.0.0/8 via 169.254.1.1 dev eth0 metric 1 table 2 mtu 3 advmss 4"},
	} {
		if got := test.object.String(); got != test.want {
			t.Errorf("%#v prints %q, want %q", test.object, got, test.want)
		}
	}
}

func TestHeedsRAs(t *testing.T) {
	for _, test := range []struct {
		conf Inet6
		want bool
	}{
		{Inet6{AcceptRA: 0}, false},
		{Inet6{AcceptRA: 1}, true},
		{Inet6{AcceptRA: 1, Forwarding: 1}, false},
		{Inet6{AcceptRA: 2, Forwarding: 1}, true},
		{Inet6{AcceptRA: 2, Disabled: 1}, false},
	} {
		if got := test.conf.HeedsRAs(); got != test.want {
			t.Errorf("%+v heeds router advertisements: %t, want %t", test.conf, got, test.want)
		}
	}
}

// inNetns calls f with a connection in a fresh namespace that has a veth eth0, down.
func inNetns(t *testing.T, f func(c *rtnl.Conn, eth0 Link) error) {
	t.Helper()
	ns, err := lab.NewNetns(fmt.Sprintf("flt-wire-%d-%s", os.Getpid(), strings.ToLower(t.Name())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	err = ns.Do(func() error {
		c, err := rtnl.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		home, err := c.Netns()
		if err != nil {
			return err
		}
		defer unix.Close(home)
		link, err := create(c, home)
		if err != nil {
			return err
		}
		return f(c, link)
	})
	if err != nil {
		t.Error(err)
	}
}

func create(c *rtnl.Conn, home int) (Link, error) {
	answers, err := c.Ask(
		CreateVeth(Link{Dev: Dev{Name: "eth0"}, MAC: mac, MTU: 1400, Group: 9}, Link{Dev: Dev{Name: "other"}, MAC: MAC{2}, MTU: 1400}, home),
		GetLink("eth0"))
	if err != nil {
		return Link{}, err
	}
	if err := errors.Join(answers[0].Err, answers[1].Err); err != nil {
		return Link{}, err
	}
	return ParseLink(answers[1].Data)
}

func TestLink(t *testing.T) {
	inNetns(t, func(c *rtnl.Conn, link Link) error {
		err := c.Do(Set(link.Dev, Settings{Alias: "one of ours", Group: 11, Router: true, NoLinkLocal: true, Up: true}))
		if err != nil {
			return err
		}
		answers, err := c.Ask(GetLink("eth0"))
		if err != nil {
			return err
		}
		got, err := ParseLink(answers[0].Data)
		if err != nil {
			return err
		}
		if peer, err := c.LinkName(got.Peer); err != nil || peer != "other" {
			t.Errorf("the other end is %q (%v)", peer, err)
		}
		if !got.IPv6.Exists || got.IPv6.AcceptRA != 1 || got.IPv6.Autoconf != 1 || got.IPv6.Disabled != 0 {
			t.Errorf("IPv6 configuration %+v is not the kernel's default", got.IPv6)
		}
		got.IPv6, got.Peer = Inet6{}, 0
		want := Link{Dev: link.Dev, Kind: "veth", Alias: "one of ours", MAC: mac, MTU: 1400, Group: 11, Up: true,
			PeerNetns: -1, IPv4: Inet4{Forwarding: 1, ProxyARP: 1}}
		if got != want {
			t.Errorf("link %+v, want %+v", got, want)
		}
		if mtu, err := c.LinkMTU(link.Index); err != nil || mtu != 1400 {
			t.Errorf("MTU = %d, %v", mtu, err)
		}
		return c.Do(DeleteLink(link.Dev))
	})
}

// What is added is listed as equal values, and among nothing of another link's.
func TestObjectsComeBack(t *testing.T) {
	inNetns(t, func(c *rtnl.Conn, link Link) error {
		d := link.Dev
		addrs := []Addr{{d, netip.MustParsePrefix("10.0.0.5/32")}, {d, netip.MustParsePrefix("2001:db8::5/128")}, {d, netip.MustParsePrefix("fe80::5/64")}}
		neighs := []Neigh{{d, netip.MustParseAddr("169.254.1.1"), mac}, {d, netip.MustParseAddr("fe80::1"), mac}}
		routes := []Route{
			{Dev: d, Dst: netip.MustParsePrefix("169.254.1.1/32")},
			{Dev: d, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("169.254.1.1")},
			{Dev: d, Dst: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("169.254.1.1"), Metric: 5, Table: 300, MTU: 1300, AdvMSS: 1200},
			{Dev: d, Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::1")},
		}
		reqs := []*rtnl.Request{Set(d, Settings{NoLinkLocal: true, Up: true}), NoProxyDelay(d)}
		for range 2 { // the second time it is all there
			for _, a := range addrs {
				reqs = append(reqs, a.Add())
			}
			for _, n := range neighs {
				reqs = append(reqs, n.Add())
			}
		}
		for _, r := range routes {
			reqs = append(reqs, r.Add())
		}
		if err := c.Do(reqs...); err != nil {
			return err
		}
		return errors.Join(
			listed(t, c, ListAddrs(d), addrs, func(b []byte) (Addr, error) { return ParseAddr(d, b) }),
			listed(t, c, ListNeighs(d), neighs, func(b []byte) (Neigh, error) { return ParseNeigh(d, b) }),
			listed(t, c, ListRoutes(d), []Route{routes[0], routes[1], routes[2], routes[3].Listed()},
				func(b []byte) (Route, error) { return ParseRoute(d, b) }),
			listed(t, c, ListAddrs(Loopback), nil, func(b []byte) (Addr, error) {
				a, err := ParseAddr(Loopback, b)
				if slices.Contains(addrs, Addr{d, a.Prefix}) {
					t.Errorf("%s was listed", a)
				}
				return a, err
			}),
		)
	})
}

func listed[T interface {
	comparable
	fmt.Stringer
}](t *testing.T, c *rtnl.Conn, req *rtnl.Request, want []T, parse func([]byte) (T, error)) error {
	objects, err := c.Dump(req)
	if err != nil {
		return err
	}
	var got []T
	for _, object := range objects {
		item, err := parse(object)
		if err != nil {
			return err
		}
		got = append(got, item)
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s is not listed among %v", w, got)
		}
	}
	return nil
}

// A refusal stops nothing, and says what was refused and why.
func TestRefusals(t *testing.T) {
	inNetns(t, func(c *rtnl.Conn, link Link) error {
		addr := Addr{link.Dev, netip.MustParsePrefix("10.0.0.5/32")}
		answers, err := c.Ask(
			Addr{link.Dev, netip.MustParsePrefix("ff02::5/128")}.Add(),
			addr.Add(),
			Route{Dev: link.Dev, Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::1")}.Add(),
			GetLink("absent"),
			addr.Delete(),
		)
		if err != nil {
			return err
		}
		for i, want := range []string{
			"add address ff02::5/128 dev eth0: cannot assign requested address",
			"<nil>",
			"add route default via fe80::1 dev eth0: ",
			"get link absent: no such device",
			"<nil>",
		} {
			if got := fmt.Sprint(answers[i].Err); !strings.HasPrefix(got, want) {
				t.Errorf("answer %d is %q, want %q", i, got, want)
			}
		}
		if !errors.Is(answers[3].Err, unix.ENODEV) {
			t.Errorf("%v is not ENODEV", answers[3].Err)
		}
		if !strings.HasSuffix(fmt.Sprint(answers[2].Err), ")") {
			t.Errorf("%v lacks the kernel's words", answers[2].Err)
		}
		if err := c.Do(addr.Delete(), addr.Add()); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("deleting an absent address: %v", err)
		}
		return nil
	})
}

// A dump comes in many datagrams, and without what is another device's.
func TestDumpIsWhole(t *testing.T) {
	const count = 3000
	inNetns(t, func(c *rtnl.Conn, link Link) error {
		reqs := []*rtnl.Request{Set(link.Dev, Settings{Up: true})}
		ip := netip.MustParseAddr("2001:db8::")
		for range count {
			ip = ip.Next()
			reqs = append(reqs, Neigh{link.Dev, ip, mac}.Add())
		}
		reqs = append(reqs, Neigh{Loopback, ip, mac}.Add())
		if err := c.Do(reqs...); err != nil {
			return err
		}
		objects, err := c.Dump(ListNeighs(link.Dev))
		permanent := 0
		for _, object := range objects {
			if n, err := ParseNeigh(link.Dev, object); err == nil && n.MAC == mac {
				permanent++
			}
		}
		if permanent != count {
			t.Errorf("%d neighbours of %d are listed", permanent, count)
		}
		return err
	})
}

// Whatever the bytes are, they are read or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, unix.SizeofIfInfomsg))
	f.Add(append(make([]byte, unix.SizeofIfInfomsg), 8, 0, unix.IFLA_MTU, 0, 1, 2, 3, 4))
	f.Add(append(make([]byte, unix.SizeofRtMsg), 12, 0, unix.RTA_MULTIPATH, 0, 8, 0, 0, 0, 3, 0, 0, 0))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = ParseLink(b)
		_, _ = ParseAddr(eth0, b)
		_, _ = ParseNeigh(eth0, b)
		_, _ = ParseRoute(eth0, b)
		_ = OutIndices(b)
		_ = DynamicAddr(b)
		_ = Forwarding(b)
	})
}
