// SPDX-License-Identifier: Apache-2.0

package anycast_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/anycast"
	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
)

// keeper is the name under which the test's own program runs a keeper, to be killed.
const keeper = "keeper"

func TestMain(m *testing.M) {
	hosttest.AsPlugin(keeper, func() {
		if err := keep(os.Args[1], os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	})
	os.Exit(m.Run())
}

// keep runs a keeper for a node as long as the process lives.
func keep(kubeconfig, node, dir string) error {
	conn, err := rtnl.Dial()
	if err != nil {
		return err
	}
	client, err := kube.Connect(kubeconfig, keeper)
	if err != nil {
		return err
	}
	pods := client.PodInformer(node)
	go pods.Run(nil)
	return anycast.New(anycast.Options{
		Conn: conn, Store: store.Store{Dir: dir}, Pods: pods, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Problem: func(error) {}, Changed: func() {}, Alive: func() {},
	}).Run(context.Background())
}

// withdrawals counts how often a route of the announcement table to the address goes, until the test ends.
func (s *site) withdrawals(addr netip.Addr) *atomic.Int64 {
	s.Helper()
	ns, err := netns.GetFromName(s.host.Name)
	if err != nil {
		s.Fatal(err)
	}
	defer ns.Close()
	updates, done := make(chan netlink.RouteUpdate, 1024), make(chan struct{})
	if err := netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{Namespace: &ns}); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { close(done) })
	count := new(atomic.Int64)
	go func() {
		for u := range updates {
			if u.Type == unix.RTM_DELROUTE && u.Table == rtnl.TableAnnounce && u.Dst != nil && u.Dst.IP.Equal(addr.AsSlice()) {
				count.Add(1)
			}
		}
	}()
	return count
}

// steady attaches a pod that is ready all the time, and returns how often it was withdrawn.
func (s *site) steady(link string) *atomic.Int64 {
	s.Helper()
	addr := netip.MustParseAddr("10.9.9.9")
	pod := s.makePod("steady", addr)
	s.attach(link, identity(pod), addr)
	s.api.SetReady(s.T, pod, true)
	return s.withdrawals(addr)
}

const steadyByV2 = "10.9.9.9 by v2, prefers v2"

func TestFlapping(t *testing.T) {
	api := apiserver.Start(t)
	s := newSite(t, api, "v1", "v2")
	withdrawn := s.steady("v2")
	pod := s.makePod("web", any6)
	s.attach("v1", identity(pod), any6)
	s.start()
	for _, end := range []bool{true, false} {
		for i := range 100 {
			api.SetReady(t, pod, (i%2 == 1) == end)
		}
		s.await(map[bool]string{true: byV1 + "; " + steadyByV2, false: steadyByV2}[end])
	}
	if n := withdrawn.Load(); n != 0 {
		t.Errorf("the address of the pod that was ready all the time was withdrawn %d times", n)
	}
}

// TestServerAway has pods' readiness change while the API server is away, and a keeper start meanwhile.
func TestServerAway(t *testing.T) {
	api := apiserver.New(t)
	s := newSite(t, api, "v1", "v2", "v3")
	withdrawn := s.steady("v2")
	pod := s.makePod("web", any6)
	s.attach("v1", identity(pod), any6)
	api.SetReady(t, pod, true)
	_, stop := s.start()
	s.await(byV1 + "; " + steadyByV2)

	gone := s.withdrawals(any6)
	api.Stop()
	stop()
	k, _ := s.start()
	s.attach("v3", identity(pod), any6) // a sandbox that nobody knows to be ready
	k.Attachment(attachment("v3"))
	s.within(func() string { return fmt.Sprint(len(k.Snapshot())) }, "2")
	s.await(byV1 + "; " + steadyByV2)
	s.detach("v3")
	k.Attachment(attachment("v3"))
	if n := gone.Load(); n != 0 {
		t.Errorf("withdrawn %d times without the API server", n)
	}

	api.Resume(t)
	api.SetReady(t, pod, false)
	s.await(steadyByV2)
	if n := withdrawn.Load(); n != 0 {
		t.Errorf("the address of the pod that was ready all the time was withdrawn %d times", n)
	}
}

// TestCutOff has the node lose the API server while pods' readiness changes there, and a keeper start meanwhile.
func TestCutOff(t *testing.T) {
	api := apiserver.Start(t)
	s := newSite(t, api, "v1", "v2")
	link := api.Reach(t, s.host.Netns)
	s.steady("v2")
	pod := s.makePod("web", any6)
	s.attach("v1", identity(pod), any6)
	api.SetReady(t, pod, true)
	binary, kubeconfig, log := hosttest.Binary(t, keeper), api.Kubeconfig(t), filepath.Join(t.TempDir(), "log")
	start := func() *lab.Process {
		p, err := s.host.Start(log, binary, kubeconfig, s.node, s.store.Dir)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := start()
	s.await(byV1 + "; " + steadyByV2)
	withdrawn := s.withdrawals(any6)
	link.Cut()
	api.SetReady(t, pod, false)
	second := start() // beside the first, which goes on with what it knew
	s.detach("v2")    // withdraws without the API server
	s.await(byV1)
	if n := withdrawn.Load(); n != 0 {
		t.Errorf("withdrawn %d times by keepers that cannot know better", n)
	}
	link.Mend()
	s.await(none)
	end(t, first)
	end(t, second)
}

// TestKilled kills keepers at any moment while a pod's readiness changes.
func TestKilled(t *testing.T) {
	api := apiserver.Start(t)
	s := newSite(t, api, "v1", "v2")
	api.Reach(t, s.host.Netns)
	withdrawn := s.steady("v2")
	pod := s.makePod("web", any6)
	s.attach("v1", identity(pod), any6)
	binary, kubeconfig := hosttest.Binary(t, keeper), api.Kubeconfig(t)
	log := filepath.Join(t.TempDir(), "log")
	ready := false
	for i := range 20 {
		p, err := s.host.Start(log, binary, kubeconfig, s.node, s.store.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); time.Since(start) < time.Duration(i)*15*time.Millisecond; ready = !ready {
			api.SetReady(t, pod, !ready)
		}
		if i%4 == 3 {
			s.await(map[bool]string{true: byV1 + "; " + steadyByV2, false: steadyByV2}[ready])
		}
		if !p.Running() {
			t.Fatal(p.LastWords())
		}
		end(t, p)
	}
	s.start()
	s.await(map[bool]string{true: byV1 + "; " + steadyByV2, false: steadyByV2}[ready])
	if n := withdrawn.Load(); n != 0 {
		t.Errorf("the address of the pod that was ready all the time was withdrawn %d times", n)
	}
}

func end(t *testing.T, p *lab.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.End(ctx, os.Kill); err != nil {
		t.Fatal(err)
	}
}

// TestAttachmentsComeAndGo lets attachments go and come under a keeper that learns of each, or of none.
func TestAttachmentsComeAndGo(t *testing.T) {
	api := apiserver.Start(t)
	s := newSite(t, api, "v1", "v2")
	withdrawn := s.steady("v2")
	pod := s.makePod("web", any6)
	api.SetReady(t, pod, true)
	k, _ := s.start()
	for i := range 30 {
		s.attach("v1", identity(pod), any6)
		k.Attachment(attachment("v1"))
		if i%3 == 0 {
			s.await(byV1 + "; " + steadyByV2)
		}
		s.detach("v1")
		k.Attachment(attachment("v1"))
		if got := s.links("7273")[any6.String()]; got != "" {
			t.Fatalf("after DEL %d it is still announced by%s", i, got)
		}
	}
	s.await(steadyByV2)
	if n := withdrawn.Load(); n != 0 {
		t.Errorf("the address of the other pod was withdrawn %d times", n)
	}
}

// TestLostHint shows that a ready pod whose attachment nobody told of is announced at once.
func TestLostHint(t *testing.T) {
	api := apiserver.Start(t)
	s := newSite(t, api, "v1", "v2")
	s.steady("v2")
	s.start()
	s.await(steadyByV2)
	pod := s.makePod("web", any6)
	s.attach("v1", identity(pod), any6)
	api.SetReady(t, pod, true)
	s.await(byV1 + "; " + steadyByV2)
}

// TestProblem has a stranger's route stand in the way for a while.
func TestProblem(t *testing.T) {
	s := newSite(t, apiserver.Start(t), "v1", "v2")
	problems := make(chan error, 100)
	s.problem = func(err error) { problems <- err }
	pod := s.makePod("web", any6)
	s.attach("v1", identity(pod), any6)
	index, err := s.conn.LinkIndex("v1")
	if err != nil {
		t.Fatal(err)
	}
	stranger := fmt.Sprintf("2001:db8:a::1 dev v2 table 7273 proto static metric %d", rtnl.Metric+index)
	s.host.IP("-6 route add " + stranger)
	s.api.SetReady(t, pod, true)
	s.start()
	await := func(want string) {
		t.Helper()
		timeout := time.After(10 * time.Second)
		for {
			select {
			case err := <-problems:
				if strings.HasPrefix(fmt.Sprint(err), want) {
					return
				}
			case <-timeout:
				t.Fatalf("no problem begins with %q", want)
			}
		}
	}
	await(fmt.Sprintf("announce 2001:db8:a::1 of pod %s/web: 2001:db8:a::1 has another route already", s.namespace))
	s.host.IP("-6 route del " + stranger)
	await("<nil>")
	s.await(byV1)
}
