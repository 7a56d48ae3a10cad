// SPDX-License-Identifier: Apache-2.0

package main

import (
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
	"flock.fritzlab.net/flock/test/tor"
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

// site is a [tor.Site] with the speaker.
type site struct {
	testing.TB
	dir     string
	node    *lab.Netns
	routers []*router
	client  *plugin.Client
	speaker speaker.Speaker
}

type router struct {
	*tor.Router
	site *site
}

func newSite(t testing.TB, routers int) *site {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	s := &site{TB: t, dir: t.TempDir()}
	lay, err := tor.NewSite(t.Context(), s.dir, routers)
	must(t, err)
	t.Cleanup(func() { lay.Delete() })
	s.node = lay.Node
	for _, r := range lay.Routers {
		s.routers = append(s.routers, &router{r, s})
	}
	return s
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

// start starts the speaker with the configuration, and the routers with that which [tor.Router.Start] makes of each text.
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
		for _, p := range tor.Ends(i+1, 2) {
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

// start is [tor.Router.Start].
func (r *router) start(text string, flags ...string) {
	r.site.Helper()
	must(r.site.TB, r.Start(r.site.Context(), text, flags...))
}

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

// wantRoutes waits until the main table holds exactly these routes.
func (s *site) wantRoutes(n *lab.Netns, want ...string) {
	s.Helper()
	for i := range want {
		want[i] = tor.SortHops(want[i])
	}
	slices.Sort(want)
	s.eventually("the main table of "+n.Name+" holds what it should", func() error {
		got, err := tor.Routes(s.Context(), n, "main")
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
