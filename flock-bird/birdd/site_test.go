// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// asBirdd makes the test binary behave as birdd.
const asBirdd = "FLOCK_TEST_AS_BIRDD"

func TestMain(m *testing.M) {
	if os.Getenv(asBirdd) != "" {
		main()
		return
	}
	os.Setenv(asBirdd, "1")
	code := m.Run()
	os.RemoveAll(extensionsDir)
	os.Exit(code)
}

// The speakers that tests run with.
const onBIRD, onGoBGP = "bird", "gobgp"

// bySpeaker runs a test with either. What is of one alone, as BIRD's configuration file and its trial, has tests of its own.
func bySpeaker(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{onBIRD, onGoBGP} {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

// site is a node with a speaker and a birdd, and its routers, each on a link of its own: router n, counted
// from 1, has fd00:n::1 and 10.0.n.1 on it, the node fd00:n::2 and 10.0.n.2. The node has a link "pod".
type site struct {
	*testing.T
	kind    string // of the speaker
	dir     string
	node    *lab.Netns
	bird    *lab.Bird    // where it is the speaker
	runner  *lab.Process // of "birdd speaker", where the speaker is an extension
	birdd   *lab.Process
	routers []*router
	// contained is the process that runs BIRD in a container, where one does.
	contained *lab.Process
}

type router struct {
	*lab.Netns
	site  *site
	index int
	conf  string
	bird  *lab.Bird
}

func newSite(t *testing.T, kind string, routers int) *site {
	t.Helper()
	t.Parallel() // most of each test is waiting for BIRD's timers
	s := &site{T: t, kind: kind, dir: t.TempDir(), node: newNetns(t)}
	must(t, os.Mkdir(s.path("config"), 0o755))
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

func newNetns(t *testing.T) *lab.Netns {
	t.Helper()
	n, err := lab.NewNetns(lab.UniqueName("flt-birdd"))
	must(t, err)
	t.Cleanup(func() { n.Delete() })
	for _, key := range []string{"ipv6/conf/all/forwarding", "ipv4/ip_forward"} {
		must(t, n.Sysctl(key, "1"))
	}
	return n
}

func ends(link, host int) []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("fd00:%d::%d/64", link, host)),
		netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/24", link, host)),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) ip(args string) string { s.Helper(); return runIP(s.T, s.node, args) }

func (r *router) ip(args string) string { r.site.Helper(); return runIP(r.site.T, r.Netns, args) }

func runIP(t *testing.T, n *lab.Netns, args string) string {
	t.Helper()
	out, err := n.Run(t.Context(), "ip", strings.Fields(args)...)
	must(t, err)
	return out
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// configure writes the NodeConfig, its spec given, as an editor does.
func (s *site) configure(spec string) {
	s.Helper()
	text := "apiVersion: flock.fritzlab.net/v1alpha1\nkind: NodeConfig\nmetadata: {name: node-1}\nspec:\n" + s.spoken(spec)
	must(s.T, os.WriteFile(s.path("config/nodeconfig.yaml.tmp"), []byte(text), 0o600))
	must(s.T, os.Rename(s.path("config/nodeconfig.yaml.tmp"), s.path("config/nodeconfig.yaml")))
}

// spoken is the spec for the site's speaker.
func (s *site) spoken(spec string) string {
	if s.kind == onBIRD {
		return spec
	}
	return strings.NewReplacer("  bgp:\n", "  bgp:\n    speaker: "+s.kind+"\n", ", bfd: graceful", "").Replace(spec)
}

// startBirdd starts birdd with more flags.
func (s *site) startBirdd(flags ...string) {
	s.Helper()
	args := append([]string{"run", "--config", s.path("config/nodeconfig.yaml"), "--bird-conf", s.path("bird.conf"), "--state-dir", s.dir}, flags...)
	var err error
	s.birdd, err = s.node.Start(s.path("birdd.log"), os.Args[0], args...)
	must(s.T, err)
}

// startBird starts the node's BIRD, which needs what birdd leaves for it.
func (s *site) startBird(flags ...string) {
	s.Helper()
	s.eventually("there is a bird.conf", func() error { _, err := os.Stat(s.path("bird.conf")); return err })
	var err error
	s.bird, err = s.node.StartBird(s.Context(), s.path("bird.conf"), s.path("bird.ctl"), flags...)
	must(s.T, err)
}

// startSpeaker starts the node's speaker.
func (s *site) startSpeaker() {
	s.Helper()
	if s.kind == onBIRD {
		s.startBird()
		return
	}
	s.startRunner()
}

// startRunner starts "birdd speaker" as its container does, see [site.startContained].
func (s *site) startRunner() {
	s.Helper()
	dir, err := extensions()
	must(s.T, err)
	args := slices.Concat(readOnlyBut(s.dir), onlyCapabilities("net_admin", "net_raw", "net_bind_service"),
		[]string{os.Args[0], "speaker", s.kind, "--extensions", dir, "--state-dir", s.dir})
	s.runner, err = s.node.Start(s.path("speaker.log"), args[0], args[1:]...)
	must(s.T, err)
}

// extensionsDir is the folder with speaker-gobgp, once there is one: root's, wherever the repository is.
var extensionsDir string

// extensions makes the folder.
var extensions = sync.OnceValues(func() (string, error) {
	bin, err := build.Flock(context.Background())
	if err != nil {
		return "", err
	}
	if extensionsDir, err = os.MkdirTemp("", "flt-birdd-"); err != nil {
		return "", err
	}
	program, err := os.ReadFile(filepath.Join(bin, "speaker-gobgp"))
	if err != nil {
		return "", err
	}
	return extensionsDir, os.WriteFile(filepath.Join(extensionsDir, "speaker-gobgp"), program, 0o755)
})

// start starts everything: the routers with the configuration that [routerConf] makes of each text.
func (s *site) start(spec string, routers ...string) {
	s.Helper()
	s.configure(spec)
	s.startBirdd()
	s.startSpeakers(routers...)
}

// startSpeakers starts the speakers of the node and of the routers.
func (s *site) startSpeakers(routers ...string) {
	s.Helper()
	s.startSpeaker()
	for i, text := range routers {
		s.routers[i].start(text)
	}
}

func (r *router) start(text string) {
	r.site.Helper()
	must(r.site.T, os.WriteFile(r.conf, []byte(routerConf(r.index, text)), 0o600))
	var err error
	r.bird, err = r.StartBird(r.site.Context(), r.conf, filepath.Join(filepath.Dir(r.conf), "bird.ctl"))
	must(r.site.T, err)
}

// routerConf returns an ordinary router's configuration around the text, in which N stands for the
// router's number and SESSION for what every session of it has.
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

const limit = 20 * time.Second

func (s *site) eventually(what string, check func() error) {
	s.Helper()
	if err := lab.Within(s.Context(), limit, what, check); err != nil {
		s.Fatalf("%v\nbirdd:\n%s", err, s.birddLog())
	}
}

func (s *site) birddLog() string {
	text, _ := os.ReadFile(s.path("birdd.log"))
	return string(text)
}

// routesOf returns the routes of a table as ip(8) shows them, one a line, those of links apart.
func routesOf(ctx context.Context, n *lab.Netns, table string) ([]string, error) {
	var routes []string
	for _, family := range []string{"-6", "-4"} {
		out, err := n.Run(ctx, "ip", family, "route", "show", "table", table)
		if err != nil && !strings.Contains(err.Error(), "FIB table does not exist") {
			return nil, err
		}
		out = strings.ReplaceAll(out, "\n\tnexthop", " nexthop") // one line a route
		for line := range strings.Lines(out) {
			line = strings.NewReplacer(" pref medium", "", " dev lo", "", " scope link", "").Replace(line)
			line = sortHops(strings.Join(strings.Fields(line), " "))
			if line != "" && !strings.Contains(line, "proto kernel") && !strings.Contains(line, "does not exist") && !strings.Contains(line, "Dump terminated") {
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

// wantRoutes waits until the table holds exactly these routes.
func (s *site) wantRoutes(n *lab.Netns, table string, want ...string) {
	s.Helper()
	for i := range want {
		if n == s.node && s.kind != onBIRD {
			want[i] = strings.ReplaceAll(want[i], "proto bird", "proto bgp")
		}
		want[i] = sortHops(want[i])
	}
	slices.Sort(want)
	s.eventually(fmt.Sprintf("table %s of %s holds what it should", table, n.Name), func() error {
		got, err := routesOf(s.Context(), n, table)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it holds\n\t%s\nnot\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		return err
	})
}

// wantSessions waits until so many of the node's sessions are up, as "birdd status" tells.
func (s *site) wantSessions(count int) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d sessions are up", count), func() error {
		up := 0
		report := s.status()
		for _, one := range report.Sessions {
			if one.State == speaker.Established {
				up++
			}
		}
		if up != count {
			return fmt.Errorf("%+v, problems %+v", report.Sessions, report.Problems)
		}
		return nil
	})
}

func (s *site) wantEstablished(b *lab.Bird, count int) {
	s.Helper()
	must(s.T, b.AwaitEstablished(s.Context(), count))
}

// watchDeletes notes every route that a router's kernel loses; the function returns them.
func (s *site) watchDeletes(n *lab.Netns) func() []string {
	s.Helper()
	updates := make(chan netlink.RouteUpdate, 1000)
	must(s.T, n.Do(func() error { return netlink.RouteSubscribe(updates, s.Context().Done()) }))
	return func() []string {
		var deleted []string
		for {
			select {
			case u := <-updates:
				if u.Type == unix.RTM_DELROUTE {
					deleted = append(deleted, u.Dst.String())
				}
			default:
				return deleted
			}
		}
	}
}
