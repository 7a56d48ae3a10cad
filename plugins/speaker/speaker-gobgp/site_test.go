// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/lab"
)

// asSpeaker makes the test binary behave as speaker-gobgp.
const asSpeaker = "FLOCK_TEST_AS_SPEAKER"

func TestMain(m *testing.M) {
	if os.Getenv(asSpeaker) != "" {
		main()
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // most of each test is waiting for timers
		panic(err)
	}
	os.Exit(m.Run())
}

// site is a node with the speaker, and its routers, each on a link of its own: router n, counted from 1, has fd00:n::1
// and 10.0.n.1 on it, the node fd00:n::2 and 10.0.n.2. The node has a link "pod".
type site struct {
	testing.TB
	dir     string
	node    *lab.Netns
	routers []*router
	client  *plugin.Client
	speaker speaker.Speaker
}

type router struct {
	*lab.Netns
	site  *site
	index int
	conf  string
	bird  *lab.Bird
}

func newSite(t testing.TB, routers int) *site {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	s := &site{TB: t, dir: t.TempDir(), node: newNetns(t)}
	for i := 1; i <= routers; i++ {
		r := &router{Netns: newNetns(t), site: s, index: i, conf: filepath.Join(s.dir, fmt.Sprintf("router%d", i), "bird.conf")}
		must(t, os.Mkdir(filepath.Dir(r.conf), 0o755))
		must(t, lab.Cable{MTU: 1500,
			A: lab.End{Netns: s.node, Name: fmt.Sprintf("up%d", i), Addresses: ends(i, 2)},
			B: lab.End{Netns: r.Netns, Name: "node", Addresses: ends(i, 1)},
		}.Lay())
		s.routers = append(s.routers, r)
	}
	s.ip("link add pod up type veth peer name pod1")
	s.ip("link set pod1 up")
	return s
}

func newNetns(t testing.TB) *lab.Netns {
	t.Helper()
	n, err := lab.NewNetns(lab.UniqueName("flt-gobgp"))
	must(t, err)
	t.Cleanup(func() { n.Delete() })
	for _, key := range []string{"ipv6/conf/all/forwarding", "ipv4/ip_forward"} {
		must(t, n.Sysctl(key, "1"))
	}
	return n
}

func ends(link, host int) []netip.Prefix {
	return prefixes(fmt.Sprintf("fd00:%d::%d/64", link, host), fmt.Sprintf("10.0.%d.%d/24", link, host))
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) ip(args string) string { s.Helper(); return runIP(s.TB, s.node, args) }

func (r *router) ip(args string) string { r.site.Helper(); return runIP(r.site.TB, r.Netns, args) }

func runIP(t testing.TB, n *lab.Netns, args string) string {
	t.Helper()
	out, err := n.Run(t.Context(), "ip", strings.Fields(args)...)
	must(t, err)
	return out
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// launch starts the speaker on the node, for the first time or again.
func (s *site) launch() {
	s.Helper()
	log, err := os.OpenFile(s.path("speaker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(s.TB, err)
	s.Cleanup(func() { log.Close() })
	cmd := exec.Command("ip", "netns", "exec", s.node.Name, os.Args[0])
	cmd.Env = append(os.Environ(), asSpeaker+"=1", speaker.StateDirEnv+"="+s.dir, plugin.EnvUnixSocketDir+"="+s.dir)
	s.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: speaker.Handshake, VersionedPlugins: speaker.VersionedPlugins, Cmd: cmd, Stderr: log,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true, Logger: hclog.NewNullLogger(),
	})
	s.Cleanup(s.client.Kill)
	rpc, err := s.client.Client()
	must(s.TB, err)
	raw, err := rpc.Dispense(speaker.Kind)
	must(s.TB, err)
	s.speaker = raw.(speaker.Speaker)
}

// kill kills the speaker, which has no time for anything.
func (s *site) kill() {
	s.Helper()
	must(s.TB, unix.Kill(s.client.ReattachConfig().Pid, unix.SIGKILL))
	s.eventually("the speaker has ended", func() error {
		if !s.client.Exited() {
			return errNotYet
		}
		return nil
	})
}

var errNotYet = fmt.Errorf("not yet")

func (s *site) configure(c speaker.Config) {
	s.Helper()
	must(s.TB, s.speaker.Configure(s.Context(), c))
}

// start starts the speaker with the configuration, and the routers with that which [routerConf] makes of each text.
func (s *site) start(c speaker.Config, routers ...string) {
	s.Helper()
	s.launch()
	s.configure(c)
	for i, text := range routers {
		s.routers[i].start(text)
	}
}

// config returns a configuration of the node with the peers. It has the pools 2001:db8:1::/64 and 10.244.1.0/24, and may
// announce every address.
func (s *site) config(peers ...speaker.Peer) speaker.Config {
	c := speaker.Config{
		Node: "node-1", Table: 7273, LocalASN: 64512, RouterID: addr("10.255.1.0"),
		Summaries: prefixes("2001:db8:1::/64", "10.244.1.0/24"), ExportAccept: prefixes("::/0", "0.0.0.0/0"),
		Own: []netip.Addr{addr("127.0.0.1")}, Peers: peers,
	}
	for i := range s.routers {
		for _, p := range ends(i+1, 2) {
			c.Own = append(c.Own, p.Addr())
		}
	}
	return c
}

// tor6 returns a peer as a NodeConfig with nothing else makes one: the router by its IPv6 address.
func tor6(router int) speaker.Peer {
	return speaker.Peer{
		Name: fmt.Sprintf("tor-%d", router), Address: addr(fmt.Sprintf("fd00:%d::1", router)), ASN: 64500, IPv6: true,
		HoldTime: 90 * time.Second, KeepaliveTime: 30 * time.Second, GracefulRestart: true, MaxPrefixes: 1000,
		ImportAccept: []speaker.PrefixMatch{{Prefix: netip.MustParsePrefix("::/0")}, {Prefix: netip.MustParsePrefix("0.0.0.0/0")}},
	}
}

// tor4 is the router by its IPv4 address.
func tor4(router int) speaker.Peer {
	p := tor6(router)
	p.Name, p.Address, p.IPv4, p.IPv6 = p.Name+"-4", addr(fmt.Sprintf("10.0.%d.1", router)), true, false
	return p
}

// everything is what a peer may send that may send anything.
var everything = []speaker.PrefixMatch{
	{Prefix: netip.MustParsePrefix("::/0"), MaxLength: 128}, {Prefix: netip.MustParsePrefix("0.0.0.0/0"), MaxLength: 32}}

// announceSummaries puts the pools into the announcement table, as birdd does.
func (s *site) announceSummaries() {
	s.Helper()
	s.ip("-6 route add blackhole 2001:db8:1::/64 table 7273 proto 73 metric 16")
	s.ip("-4 route add blackhole 10.244.1.0/24 table 7273 proto 73 metric 16")
}

// start starts the router's BIRD with the configuration that [routerConf] makes of the text, and more flags.
func (r *router) start(text string, flags ...string) {
	r.site.Helper()
	must(r.site.TB, os.WriteFile(r.conf, []byte(routerConf(r.index, text)), 0o600))
	var err error
	r.bird, err = r.StartBird(r.site.Context(), r.conf, filepath.Join(filepath.Dir(r.conf), "bird.ctl"), flags...)
	must(r.site.TB, err)
}

// routerConf returns an ordinary router's configuration around the text, in which N stands for the router's number and
// SESSION for what every session of it has.
func routerConf(index int, text string) string {
	base := `
router id 10.255.0.N;
protocol device {}
protocol kernel kernel6 { ipv6 { export where source = RTS_BGP; }; merge paths on; }
protocol kernel kernel4 { ipv4 { export where source = RTS_BGP; }; merge paths on; }
`
	const session = `connect delay time 1; connect retry time 1; error wait time 1, 2; graceful restart on; local as 64500;`
	return strings.NewReplacer("SESSION", session, "N", fmt.Sprint(index)).Replace(base + text)
}

// router6 is a router with one IPv6 session, which gives the node a default route.
const router6 = `
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol bgp node6 { SESSION neighbor fd00:N::2 as 64512; ipv6 { import all; export all; }; }
`

// router46 has a session for each family.
const router46 = router6 + `
protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }
protocol bgp node4 { SESSION neighbor 10.0.N.2 as 64512; ipv4 { import all; export all; }; }
`

// What the tables hold with these routers and one link.
const (
	pool6AtRouter = "2001:db8:1::/64 via fd00:1::2 dev node proto bird metric 32"
	pool4AtRouter = "10.244.1.0/24 via 10.0.1.2 dev node proto bird metric 32"
	default6      = "default via fd00:1::1 dev up1 proto bgp metric 32"
	default4      = "default via 10.0.1.1 dev up1 proto bgp metric 32"
)

const limit = 30 * time.Second

func (s *site) eventually(what string, check func() error) {
	s.Helper()
	if err := lab.Within(s.Context(), limit, what, check); err != nil {
		log, _ := os.ReadFile(s.path("speaker.log"))
		s.Fatalf("%v\nspeaker:\n%s", err, log)
	}
}

// routesOf returns the routes of a table as ip(8) shows them, one a line, those of links apart.
func routesOf(ctx context.Context, n *lab.Netns, table string) ([]string, error) {
	var routes []string
	for _, family := range []string{"-6", "-4"} {
		out, err := n.Run(ctx, "ip", family, "route", "show", "table", table)
		if err != nil {
			return nil, err
		}
		out = strings.ReplaceAll(out, "\n\tnexthop", " nexthop") // one line a route
		for line := range strings.Lines(out) {
			line = strings.NewReplacer(" pref medium", "", " dev lo", "", " scope link", "").Replace(line)
			line = sortHops(strings.Join(strings.Fields(line), " "))
			if line != "" && !strings.Contains(line, "proto kernel") {
				routes = append(routes, line)
			}
		}
	}
	slices.Sort(routes)
	return routes, nil
}

// sortHops brings the next hops of one route into an order.
func sortHops(line string) string {
	hops := strings.Split(line, " nexthop ")
	slices.Sort(hops[1:])
	return strings.Join(hops, " nexthop ")
}

// wantRoutes waits until the main table holds exactly these routes.
func (s *site) wantRoutes(n *lab.Netns, want ...string) {
	s.Helper()
	for i := range want {
		want[i] = sortHops(want[i])
	}
	slices.Sort(want)
	s.eventually("the main table of "+n.Name+" holds what it should", func() error {
		got, err := routesOf(s.Context(), n, "main")
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it holds\n\t%s\nnot\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		return err
	})
}

// status returns the speaker's status, for the pools and more prefixes.
func (s *site) status(more ...netip.Prefix) speaker.Status {
	s.Helper()
	status, err := s.speaker.Status(s.Context(), append(prefixes("2001:db8:1::/64", "10.244.1.0/24"), more...))
	must(s.TB, err)
	return status
}

// wantEstablished waits until so many sessions are.
func (s *site) wantEstablished(want int) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d sessions are established", want), func() error {
		up := 0
		sessions := s.status().Sessions
		for _, session := range sessions {
			if session.State == speaker.Established {
				up++
			}
		}
		if up != want {
			return fmt.Errorf("they are %+v", sessions)
		}
		return nil
	})
}
