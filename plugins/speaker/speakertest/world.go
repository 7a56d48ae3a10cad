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

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/lab"
)

// world is a node and its routers, each on a link of its own: router n, counted from 1, has fd00:n::1 and 10.0.n.1 on it,
// the node fd00:n::2 and 10.0.n.2 on up<n>. The node has the links pod and pod1, and two pools to announce.
type world struct {
	reporter
	Options
	says    string
	ctx     context.Context
	end     context.CancelFunc
	folder  string
	node    *lab.Netns
	routers []*router
	speaker speaker.Speaker
	kill    func()
}

// router is one that runs BIRD.
type router struct {
	*lab.Netns
	w     *world
	index int
	bird  *lab.Bird
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
	w.node = w.netns()
	for i := 1; i <= routers; i++ {
		r := &router{Netns: w.netns(), w: w, index: i}
		w.routers = append(w.routers, r)
		w.must(lab.Cable{MTU: 1500,
			A: lab.End{Netns: w.node, Name: fmt.Sprintf("up%d", i), Addresses: ends(i, 2)},
			B: lab.End{Netns: r.Netns, Name: "node", Addresses: ends(i, 1)},
		}.Lay())
	}
	w.ip("link add pod up type veth peer name pod1")
	w.ip("link set pod1 up")
	w.ip("-6 route add blackhole " + pool6 + " table " + table + " proto 73 metric 16")
	w.ip("route add blackhole " + pool4 + " table " + table + " proto 73 metric 16")
}

func (w *world) netns() *lab.Netns {
	n, err := lab.NewNetns(lab.UniqueName("flt-speaker"))
	w.must(err)
	for _, key := range []string{"ipv6/conf/all/forwarding", "ipv4/ip_forward"} {
		w.must(n.Sysctl(key, "1"))
	}
	return n
}

func ends(link, host int) []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("fd00:%d::%d/64", link, host)),
		netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/24", link, host)),
	}
}

// close ends everything.
func (w *world) close() {
	if w.kill != nil {
		w.kill()
	}
	for _, r := range w.routers {
		r.Delete()
	}
	if w.node != nil {
		w.node.Delete()
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
	hops := strings.Split(strings.Join(kept, " "), " nexthop ")
	slices.Sort(hops[1:])
	return strings.Join(hops, " nexthop ")
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

// watchDeletes notes every route that a namespace's main table loses; the function returns them.
func (w *world) watchDeletes(n *lab.Netns) func() []string {
	w.Helper()
	updates := make(chan netlink.RouteUpdate, 1000)
	w.must(n.Do(func() error { return netlink.RouteSubscribe(updates, w.ctx.Done()) }))
	return func() []string {
		var deleted []string
		for {
			select {
			case u := <-updates:
				if u.Type == unix.RTM_DELROUTE && u.Table == unix.RT_TABLE_MAIN {
					deleted = append(deleted, fmt.Sprint(u.Dst))
				}
			default:
				return deleted
			}
		}
	}
}

var errNotYet = errors.New("not yet")
