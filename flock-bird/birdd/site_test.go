// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
	"flock.fritzlab.net/flock/test/tor"
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

// site is a [tor.Site] with a speaker and a birdd.
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
	*tor.Router
	site *site
}

func newSite(t *testing.T, kind string, routers int) *site {
	t.Helper()
	t.Parallel() // most of each test is waiting for BIRD's timers
	s := &site{T: t, kind: kind, dir: t.TempDir()}
	lay, err := tor.NewSite(t.Context(), s.dir, routers)
	must(t, err)
	t.Cleanup(func() { lay.Delete() })
	s.node = lay.Node
	for _, r := range lay.Routers {
		s.routers = append(s.routers, &router{r, s})
	}
	must(t, os.Mkdir(s.path("config"), 0o755))
	return s
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

// start starts everything: the routers with the configuration that [tor.Router.Start] makes of each text.
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
	must(r.site.T, r.Start(r.site.Context(), text))
}

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

// wantRoutes waits until the table holds exactly these routes.
func (s *site) wantRoutes(n *lab.Netns, table string, want ...string) {
	s.Helper()
	for i := range want {
		if n == s.node && s.kind != onBIRD {
			want[i] = strings.ReplaceAll(want[i], "proto bird", "proto bgp")
		}
		want[i] = tor.SortHops(want[i])
	}
	slices.Sort(want)
	s.eventually(fmt.Sprintf("table %s of %s holds what it should", table, n.Name), func() error {
		got, err := tor.Routes(s.Context(), n, table)
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

// watchDeletes notes every route that a namespace loses; the function returns them.
func (s *site) watchDeletes(n *lab.Netns) func() []string {
	s.Helper()
	lost, err := tor.Losses(s.Context(), n)
	must(s.T, err)
	return lost
}
