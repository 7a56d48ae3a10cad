// SPDX-License-Identifier: Apache-2.0

package speakertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/lab"
	"flock.fritzlab.net/flock/test/tor"
)

// world is a [tor.Site] with two pools to announce and the speaker.
type world struct {
	reporter
	Options
	says    string
	ctx     context.Context
	end     context.CancelFunc
	folder  string
	site    *tor.Site
	node    *lab.Netns
	routers []*router
	speaker speaker.Speaker
	kill    func()
}

// router is one that runs BIRD.
type router struct {
	*tor.Router
	w *world
}

// table is the announcement table.
const table = "7273"

// The pools, and a single address that is announced.
const (
	pool6, pool4 = "2001:db8:1::/64", "10.244.1.0/24"
	single6      = "2001:db8:f::7"
)

func (w *world) build(routers int) {
	w.ctx, w.end = context.WithCancel(context.Background())
	var err error
	w.folder, err = os.MkdirTemp("", "flt-speaker-")
	w.must(err)
	w.site, err = tor.NewSite(w.ctx, w.folder, routers)
	w.must(err)
	w.node = w.site.Node
	for _, r := range w.site.Routers {
		w.routers = append(w.routers, &router{r, w})
	}
	w.ip("-6 route add blackhole " + pool6 + " table " + table + " proto 73 metric 16")
	w.ip("route add blackhole " + pool4 + " table " + table + " proto 73 metric 16")
}

// close ends everything.
func (w *world) close() {
	if w.kill != nil {
		w.kill()
	}
	if w.site != nil {
		w.site.Delete()
	}
	w.end()
	os.RemoveAll(w.folder)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.fail("%v", err)
	}
}

// fail quotes the rule.
func (w *world) fail(format string, args ...any) {
	w.Helper()
	log, _ := os.ReadFile(filepath.Join(w.folder, "speaker.log"))
	w.Fatalf("rule: %s\n%s\nspeaker's log:\n%s", w.says, fmt.Sprintf(format, args...), log[max(0, len(log)-4000):])
}

func (w *world) ip(args string) string {
	w.Helper()
	out, err := w.node.Run(w.ctx, "ip", strings.Fields(args)...)
	w.must(err)
	return out
}

// eventually waits until a check finds nothing wrong.
func (w *world) eventually(what string, check func() error) {
	w.Helper()
	w.must(lab.Within(w.ctx, w.Timeout, what, check))
}

// never watches that something does not come about.
func (w *world) never(while time.Duration, what string, happens func() bool) {
	w.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); task.Sleep(w.ctx, 100*time.Millisecond) {
		if happens() {
			w.fail("%s", what)
		}
	}
}

// start starts the speaker, again if need be.
func (w *world) start() {
	w.Helper()
	var err error
	w.speaker, w.kill, err = w.Start(w.node, w.folder)
	w.must(err)
}

// run starts the speaker with a config.
func (w *world) run(c speaker.Config) {
	w.Helper()
	w.start()
	w.configure(c)
}

// configure has the speaker go by the config, which it may have to be told more than once.
func (w *world) configure(c speaker.Config) {
	w.Helper()
	w.eventually("the speaker goes by the config", func() error { return w.tell(c) })
}

func (w *world) tell(c speaker.Config) error {
	ctx, cancel := context.WithTimeout(w.ctx, w.Timeout)
	defer cancel()
	return w.speaker.Configure(ctx, c)
}

func (w *world) stop(mode speaker.StopMode) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, w.Timeout)
	defer cancel()
	w.must(w.speaker.Stop(ctx, mode))
	w.kill()
}

// status asks for the pools.
func (w *world) status() (speaker.Status, error) {
	ctx, cancel := context.WithTimeout(w.ctx, w.Timeout)
	defer cancel()
	return w.speaker.Status(ctx, []netip.Prefix{netip.MustParsePrefix(pool6), netip.MustParsePrefix(pool4)})
}

// session returns the peer's best session.
func (w *world) session(peer string) (speaker.Session, error) {
	s, err := w.status()
	if err != nil {
		return speaker.Session{}, err
	}
	found := speaker.Session{}
	for _, one := range s.Sessions {
		if one.Peer == peer && (found.Peer == "" || one.State == speaker.Established) {
			found = one
		}
	}
	if found.Peer == "" {
		return found, fmt.Errorf("there is no session with %s among %+v", peer, s.Sessions)
	}
	return found, nil
}

func (w *world) wantEstablished(peer string) speaker.Session {
	w.Helper()
	var s speaker.Session
	w.eventually("the session with "+peer+" is up", func() (err error) {
		if s, err = w.session(peer); err == nil && s.State != speaker.Established {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
	return s
}

// learned returns what speakers brought into the main table, without protocol and metric, and what is wrong with these.
func learned(ctx context.Context, n *lab.Netns) ([]string, error) {
	var all []string
	for _, family := range []string{"-6", "-4"} {
		out, err := n.Run(ctx, "ip", family, "route", "show", "table", "main")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(strings.ReplaceAll(out, "\n\tnexthop", " nexthop")) {
			fields := strings.Fields(strings.NewReplacer(" pref medium", "", " onlink", "").Replace(line))
			if len(fields) == 0 || !slices.Contains(fields, "bird") && !slices.Contains(fields, "bgp") {
				continue
			}
			if metric(fields) <= 16 {
				return nil, fmt.Errorf("the metric is not above 16: %s", line)
			}
			all = append(all, plain(fields))
		}
	}
	slices.Sort(all)
	return all, nil
}

func metric(fields []string) int {
	i := slices.Index(fields, "metric")
	if i < 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[i+1]) // ip writes a number
	return n
}

// plain leaves out what speakers may choose, and brings next hops into an order.
func plain(fields []string) string {
	var kept []string
	for i := 0; i < len(fields); i++ {
		if slices.Contains([]string{"proto", "metric", "weight"}, fields[i]) {
			i++
			continue
		}
		kept = append(kept, fields[i])
	}
	return tor.SortHops(strings.Join(kept, " "))
}

// wantLearned waits until exactly these routes are in the main table of the namespace.
func (w *world) wantLearned(n *lab.Netns, want ...string) {
	w.Helper()
	slices.Sort(want)
	w.eventually("the main table of "+n.Name+" holds what it should", func() error {
		got, err := learned(w.ctx, n)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it holds\n\t%s\nnot\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		return err
	})
}

// watchDeletes notes every route that a namespace loses; the function returns them.
func (w *world) watchDeletes(n *lab.Netns) func() []string {
	w.Helper()
	lost, err := tor.Losses(w.ctx, n)
	w.must(err)
	return lost
}

var errNotYet = errors.New("not yet")
