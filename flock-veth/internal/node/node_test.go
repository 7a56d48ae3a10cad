// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

// inNetns calls f in a fresh network namespace that the commands were run in.
func inNetns(t *testing.T, f func(*rtnl.Conn) error, commands ...string) {
	t.Helper()
	name := strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name()))
	ns, err := lab.NewNetns(fmt.Sprintf("flt-node-%d-%.60s", os.Getpid(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	for _, command := range commands {
		words := strings.Fields(command)
		if _, err := ns.Run(t.Context(), words[0], words[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	err = ns.Do(func() error {
		c, err := rtnl.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return f(c)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPrepareMTU(t *testing.T) {
	const uplink = "ip link add up0 type veth peer name down0"
	route := []string{uplink, "ip link set down0 up", "ip link set up0 up", "ip addr add 192.0.2.10/24 dev up0", "ip route add default via 192.0.2.1"}
	for _, test := range []struct {
		name     string
		commands []string
		mtu      int
		want     int
	}{
		{"no uplink", nil, 0, DefaultMTU},
		{"configured", route, 9000, 9000},
		{"an uplink below IPv6's least", append(route, "ip link set up0 mtu 1000"), 0, MinMTU},
		{"an uplink of the greatest", append(route, "ip link set up0 mtu 65535"), 0, MaxMTU},
		{"blackhole", append(route, "ip route replace blackhole default"), 0, DefaultMTU},
		{"halves instead of a default", append(route, "ip link set up0 mtu 1420", "ip route del default",
			"ip route add 0.0.0.0/1 via 192.0.2.1", "ip route add 128.0.0.0/1 via 192.0.2.1"), 0, 1420},
	} {
		t.Run(test.name, func(t *testing.T) {
			inNetns(t, func(c *rtnl.Conn) error {
				got, err := Prepare(c, Families{IPv4: true, IPv6: true}, test.mtu)
				if err == nil && got != test.want {
					t.Errorf("MTU %d, want %d", got, test.want)
				}
				return err
			}, test.commands...)
		})
	}
}

func TestCheck(t *testing.T) {
	inNetns(t, func(c *rtnl.Conn) error {
		for _, want := range []Families{{IPv4: true}, {IPv6: true}} {
			if err := Check(c, want); err == nil || !strings.Contains(err.Error(), "the node does not forward packets") {
				t.Errorf("Check of %+v before Prepare = %v", want, err)
			}
		}
		if err := Check(c, Families{}); err != nil {
			t.Errorf("Check of nothing = %v", err)
		}
		if _, err := Prepare(c, Families{IPv4: true, IPv6: true}, 0); err != nil {
			return err
		}
		return Check(c, Families{IPv4: true, IPv6: true})
	})
}

// A multipath route learned from two routers is kept on both links.
func TestKeepLearning(t *testing.T) {
	inNetns(t, func(c *rtnl.Conn) error {
		links, err := learningLinks(c)
		if err != nil {
			return err
		}
		var names []string
		for _, link := range []string{"a0", "b0", "c0"} {
			for index := range links {
				if name, err := c.LinkName(index); err == nil && name == link {
					names = append(names, name)
				}
			}
		}
		if got := strings.Join(names, " "); got != "a0 b0" {
			t.Errorf("links %s learn, want a0 b0", got)
		}
		return nil
	},
		"ip link add a0 type veth peer name a1", "ip link add b0 type veth peer name b1", "ip link add c0 type veth peer name c1",
		"ip link set a0 up", "ip link set b0 up", "ip link set c0 up", "ip link set a1 up", "ip link set b1 up", "ip link set c1 up",
		"ip -6 route add default proto ra nexthop via fe80::a dev a0 nexthop via fe80::b dev b0",
	)
}
