// SPDX-License-Identifier: Apache-2.0

package anycast_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/anycast"
	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/nexthop"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

var any6 = netip.MustParseAddr("2001:db8:a::1")

var nodes atomic.Int64

// site is a node with pods, and an API server that knows them.
type site struct {
	*testing.T
	api       *apiserver.Server
	host      *hosttest.Host
	store     store.Store
	node      string
	namespace string
	conn      *rtnl.Conn // inside the host
	board     *announce.Board
	routes    claim.Keeper
	// problem is told what the keeper tells; unless it is set, an error fails the test.
	problem func(error)
}

func newSite(t *testing.T, api *apiserver.Server, links ...string) *site {
	s := &site{
		T: t, api: api, host: hosttest.New(t, links...), store: store.Store{Dir: t.TempDir()},
		node: fmt.Sprintf("node-%d-%d", os.Getpid(), nodes.Add(1)), namespace: api.Namespace(t),
	}
	s.dial()
	s.routes = claim.Keeper{Store: s.store, Stage: "flock-route", Undo: func(c claim.Claim) error {
		return s.eachRoute(c, nexthop.Anycast.Leave)
	}}
	return s
}

// dial opens what speaks to the host's kernel.
func (s *site) dial() {
	s.Helper()
	err := s.host.Do(func() (err error) {
		s.conn, err = rtnl.Dial()
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(s.conn.Close)
	s.board = announce.NewBoard(s.conn, s.store)
}

func (s *site) eachRoute(c claim.Claim, do func(nexthop.Anycast, int) error) (err error) {
	for _, addr := range c.Anycast {
		route := nexthop.Anycast{Conn: s.conn, Addr: addr, Table: unix.RT_TABLE_MAIN, Proto: rtnl.Proto, Metric: rtnl.Metric}
		err = errors.Join(err, do(route, c.LinkIndex))
	}
	return err
}

// makePod makes a pod of the node that asks for the addresses.
func (s *site) makePod(name string, addrs ...netip.Addr) *corev1.Pod {
	s.Helper()
	value := strings.Trim(fmt.Sprint(addrs), "[]")
	return s.api.MakePod(s.T, s.namespace, name, s.node, map[string]string{annotation.Anycast: strings.ReplaceAll(value, " ", ",")})
}

func identity(p *corev1.Pod) cni.Pod {
	return cni.Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)}
}

func attachment(link string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: link, IfName: "eth0"}
}

// attach does what the stages' ADD does of a pod's anycast addresses.
func (s *site) attach(link string, p cni.Pod, addrs ...netip.Addr) {
	s.Helper()
	s.take(claim.Claim{Pod: p, Link: link, Anycast: addrs})
}

func (s *site) take(c claim.Claim) {
	s.Helper()
	index, err := s.conn.LinkIndex(c.Link)
	if err != nil || index == 0 {
		s.Fatalf("link %s: #%d, %v", c.Link, index, err)
	}
	c.LinkIndex, c.Netns, c.Table = index, "/proc/self/ns/net", unix.RT_TABLE_MAIN
	nothing := func(*store.Tx) error { return nil }
	err = s.routes.Take(attachment(c.Link), c, nothing, func() error { return s.eachRoute(c, nexthop.Anycast.Join) })
	if err != nil {
		s.Fatal(err)
	}
	c.Table = rtnl.TableAnnounce
	if err := s.board.Keeper().Take(attachment(c.Link), c, nothing, func() error {
		if c.Immediate {
			return s.board.Install(c, c.Anycast...)
		}
		return nil
	}); err != nil {
		s.Fatal(err)
	}
}

// detach does what the stages' DEL does.
func (s *site) detach(link string) {
	s.Helper()
	nothing := func(*store.Tx) (claim.Claim, error) { return claim.Claim{}, nil }
	for _, keeper := range []claim.Keeper{s.board.Keeper(), s.routes} {
		if err := keeper.Release(attachment(link), nothing); err != nil {
			s.Error(err)
		}
	}
}

// start runs a keeper until stop is called or the test ends.
func (s *site) start() (k *anycast.Keeper, stop func()) {
	s.Helper()
	client, err := kube.Connect(s.api.Kubeconfig(s.T), "birdd-test")
	if err != nil {
		s.Fatal(err)
	}
	pods := client.PodInformer(s.node)
	problem := s.problem
	if problem == nil {
		problem = func(err error) {
			if err != nil {
				s.Error(err)
			}
		}
	}
	k = anycast.New(anycast.Options{
		Conn: s.conn, Store: s.store, Pods: pods, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Problem: problem, Changed: func() {}, Alive: func() {},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go pods.Run(ctx.Done())
	go func() { ended <- k.Run(ctx) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			if err := <-ended; err != nil {
				s.Error(err)
			}
		}
		stopped = true
	}
	s.Cleanup(stop)
	return k, stop
}

// picture returns the links by which addresses are announced, and, where there are any, those that
// the node prefers: "2001:db8:a::1 by v1 v2, prefers v1".
func (s *site) picture() string {
	var lines []string
	announced, preferred := s.links("7273"), s.links("main")
	for _, addr := range []string{any6.String(), "10.9.9.9"} {
		if announced[addr] != "" || preferred[addr] != "" {
			lines = append(lines, strings.TrimSpace(addr+" by"+announced[addr]+", prefers"+preferred[addr]))
		}
	}
	return strings.Join(lines, "; ")
}

// links returns the devices of what is announced, or of the routes to ready pods in the main table.
func (s *site) links(table string) map[string]string {
	links := map[string]string{}
	var addr string
	for line := range strings.Lines(s.host.Routes(table)) {
		words := strings.Fields(line)
		if words[0] != "nexthop" {
			addr = ""
			if table != "main" || strings.Contains(line, fmt.Sprintf(" metric %d", rtnl.MetricReady)) {
				addr = words[0]
			}
		}
		for i, word := range words {
			if addr != "" && word == "dev" {
				links[addr] += " " + words[i+1]
			}
		}
	}
	return links
}

// await waits for the picture.
func (s *site) await(want string) {
	s.Helper()
	s.within(s.picture, want)
}

// awaitLinks waits until these links announce an address.
func (s *site) awaitLinks(addr netip.Addr, want string) {
	s.Helper()
	s.within(func() string { return s.links("7273")[addr.String()] }, want)
}

func (s *site) within(get func() string, want string) {
	s.Helper()
	err := lab.Within(context.Background(), 10*time.Second, "the anycast addresses are right", func() error {
		if got := get(); got != want {
			return fmt.Errorf("they are %q, not %q", got, want)
		}
		return nil
	})
	if err != nil {
		s.Error(err)
	}
}
