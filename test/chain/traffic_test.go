// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

func TestFiftyAtOnce(t *testing.T) {
	t.Parallel()
	l := newRouted(t, lab.Options{Nodes: 2})
	before := [][]string{state(t, l.Nodes[0]), state(t, l.Nodes[1])}
	pods := make([]*lab.Pod, 50)
	node := func(i int) *lab.Node { return l.Nodes[i%2] }
	for i := range pods {
		pods[i] = newPod(t, node(i), fmt.Sprintf("web%d", i), nil)
	}
	atOnce(t, len(pods), func(i int) error { return node(i).Runtime.Add(t.Context(), pods[i]) })
	wantDistinct(t, pods)
	wantPings(t, []*lab.Netns{l.Router.Netns, pods[0].Netns, pods[1].Netns}, pods...)
	atOnce(t, len(pods), func(i int) error { return node(i).Runtime.Del(t.Context(), pods[i]) })
	wantUnchanged(t, l.Nodes[0], before[0])
	wantUnchanged(t, l.Nodes[1], before[1])
}

// atOnce calls fn for 0 to n-1, all at the same time.
func atOnce(t *testing.T, n int, fn func(int) error) {
	t.Helper()
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = fn(i) })
	}
	group.Wait()
	check(t, errors.Join(errs...))
}

func TestLargePackets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		cable int
		flags []string
		fits  int
	}{
		{"that of the node's link", 9000, nil, 9000},
		{"configured", 9000, []string{"--mtu", "1400"}, 1400},
		{"the least of IPv6", 1280, nil, 1280},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newRouted(t, lab.Options{Nodes: 2, MTU: tt.cable}, tt.flags...)
			here, there := attach(t, l.Nodes[0], "here", nil), attach(t, l.Nodes[1], "there", nil)
			for _, to := range there.Addresses() {
				for _, size := range []int{1280, 1400, 1500, 4000, 8999, 9000, 9001} {
					_, err := here.Ping(t.Context(), to, lab.PingOptions{Size: size})
					if fits := size <= tt.fits; fits != (err == nil) {
						t.Errorf("%d bytes: %v, want an answer: %t", size, err, fits)
					}
				}
				wantPathMTU(t, l.Router.Netns, to, tt.cable, tt.fits)
			}
		})
	}
}

// wantPathMTU sends what fits the cable and not the pod: the node answers that it is too big, and the
// sender learns what fits.
func wantPathMTU(t *testing.T, from *lab.Netns, to netip.Addr, cable, fits int) {
	t.Helper()
	if cable == fits {
		return
	}
	check(t, lab.Within(t.Context(), within, "the sender has learned the path MTU", func() error {
		_, err := from.Ping(t.Context(), to, lab.PingOptions{Size: cable, Timeout: 100 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "message too long") {
			return fmt.Errorf("%d bytes: %v", cable, err)
		}
		return nil
	}))
	_, err := from.Ping(t.Context(), to, lab.PingOptions{Size: fits})
	check(t, err)
}

// flow pings without a pause until it is stopped, and counts.
type flow struct {
	stop context.CancelFunc
	done chan struct{}
	sent int
	lost []error
}

func startFlow(t *testing.T, from *lab.Netns, to netip.Addr) *flow {
	t.Helper()
	// Nobody sends a packet twice: what is only late on a busy machine is not lost.
	pinger, err := from.NewPinger(t.Context(), to, lab.PingOptions{Timeout: within})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	f := &flow{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		defer pinger.Close()
		for ctx.Err() == nil {
			f.sent++
			if _, err := pinger.Ping(t.Context()); err != nil {
				f.lost = append(f.lost, err)
			}
		}
	}()
	return f
}

// wantWhole stops the flow and wants that nothing was lost.
func (f *flow) wantWhole(t *testing.T) {
	t.Helper()
	f.stop()
	<-f.done
	if len(f.lost) > 0 {
		t.Errorf("%d of %d pings were lost, the first: %v", len(f.lost), f.sent, f.lost[0])
	}
	t.Logf("%d pings", f.sent)
}

// TestBirdRestart kills BIRD on a node and starts it again to recover gracefully: pods, pools, fixed and
// anycast addresses stay reachable throughout.
func TestBirdRestart(t *testing.T) {
	t.Parallel()
	l := newRouted(t, lab.Options{Nodes: 2})
	node := l.Nodes[0]
	web := attach(t, node, "web", nil)
	attach(t, node, "fixed", fixed)
	attach(t, node, "dns", anycast)
	far := attach(t, l.Nodes[1], "far", nil)
	wantHops(t, l.Router, []string{fixed6, fixed4, anycast6, anycast4}, node)

	var flows []*flow
	for _, a := range append(web.Addresses(), netip.MustParseAddr(fixed6), netip.MustParseAddr(anycast4)) {
		flows = append(flows, startFlow(t, l.Router.Netns, a))
	}
	flows = append(flows, startFlow(t, web.Netns, far.Address6()), startFlow(t, far.Netns, web.Address4()))

	check(t, node.Bird.End(t.Context(), os.Kill))
	check(t, node.Bird.Restart(t.Context(), "-R"))
	check(t, l.Router.Bird.AwaitEstablished(t.Context(), 4))
	check(t, awaitRecovered(t, l.Router.Bird))
	for _, f := range flows {
		f.wantWhole(t)
	}
	wantHops(t, l.Router, []string{fixed6, fixed4, anycast6, anycast4}, node)
}

// TestBirddRestart kills birdd and starts it again: nobody notices.
func TestBirddRestart(t *testing.T) {
	t.Parallel()
	l := newRouted(t, lab.Options{Nodes: 1})
	node := l.Nodes[0]
	attach(t, node, "dns", anycast)
	attach(t, node, "fixed", fixed)
	wantHops(t, l.Router, []string{fixed6, anycast4}, node)
	before := state(t, node)
	var flows []*flow
	for _, a := range []string{fixed6, fixed4, anycast6, anycast4} {
		flows = append(flows, startFlow(t, l.Router.Netns, netip.MustParseAddr(a)))
	}

	check(t, node.Birdd.End(t.Context(), os.Kill))
	attach(t, node, "meanwhile", nil)
	loads := configurationsLoaded(t, node)
	check(t, node.StartBirdd())
	check(t, lab.Within(t.Context(), within, "birdd has compared everything", func() error {
		if configurationsLoaded(t, node) == loads {
			return errors.New("it has not loaded BIRD's configuration")
		}
		return nil
	}))
	for _, f := range flows {
		f.wantWhole(t)
	}
	wantHops(t, l.Router, []string{fixed6, fixed4, anycast6, anycast4}, node)
	if gone := slices.DeleteFunc(lab.Difference(before, state(t, node)), func(line string) bool { return line[0] == '+' }); len(gone) > 0 {
		t.Errorf("birdd took away %q", gone)
	}
}

// configurationsLoaded counts in birdd's log.
func configurationsLoaded(t *testing.T, n *lab.Node) int {
	t.Helper()
	log, err := os.ReadFile(n.Birdd.Log)
	check(t, err)
	return strings.Count(string(log), "the speaker goes by a new configuration")
}

// awaitRecovered waits until the router holds no route that the restart has left stale.
func awaitRecovered(t *testing.T, b *lab.Bird) error {
	return lab.Within(t.Context(), 3*within, "graceful restart is over", func() error {
		protocols, err := b.Ask(t.Context(), "show protocols all")
		if err == nil && strings.Contains(protocols, "Neighbor graceful restart active") {
			err = errors.New("the router still waits for the node")
		}
		return err
	})
}

// TestKernelWithdrawsAlone stops birdd and lets an anycast pod's link die: no program withdraws the
// address, and still the router hears of it. The kernel tells of the IPv6 routes that go. Of the IPv4 ones
// it does not: BIRD looks when the link goes down, finds them still there if it is quick, and sees the
// change at its next scan; what a timer found it sends when something else wakes it, or after 3 s.
func TestKernelWithdrawsAlone(t *testing.T) {
	t.Parallel()
	const scan = 10*time.Second + 3*time.Second
	l := newRouted(t, lab.Options{Nodes: 2})
	pods := []*lab.Pod{attach(t, l.Nodes[0], "dns1", anycast), attach(t, l.Nodes[1], "dns2", anycast)}
	wantHops(t, l.Router, []string{anycast6, anycast4}, l.Nodes...)

	check(t, l.Nodes[0].Birdd.End(t.Context(), os.Kill))
	start := time.Now()
	_, err := l.Nodes[0].Run(t.Context(), "ip", "link", "del", rtnl.HostName(pods[0].ContainerID, "eth0"))
	check(t, err)
	for a, limit := range map[string]time.Duration{anycast6: within, anycast4: scan + within} {
		check(t, l.Router.AwaitHops(t.Context(), limit, netip.MustParseAddr(a), l.Nodes[1]))
		t.Logf("%s is withdrawn %s after the link's death began", a, time.Since(start).Round(time.Millisecond))
	}
}

// TestDeathWithoutDEL takes pods' links and namespaces away under birdd, which has BIRD look at the IPv4
// routes that the kernel does not tell of: the router hears of them long before BIRD's next scan.
func TestDeathWithoutDEL(t *testing.T) {
	t.Parallel()
	const soon = 5 * time.Second // half the time between two scans
	l := newRouted(t, lab.Options{Nodes: 1})
	node := l.Nodes[0]
	for i := range 4 {
		pod := attach(t, node, fmt.Sprintf("dns%d", i), anycast)
		wantHops(t, l.Router, []string{anycast6, anycast4}, node)
		link := rtnl.HostName(pod.ContainerID, "eth0")
		if i%2 == 0 {
			_, err := node.Run(t.Context(), "ip", "link", "del", link)
			check(t, err)
		} else {
			check(t, pod.Delete())
		}
		awaitNoLink(t, node, link)
		start := time.Now()
		for _, a := range []string{anycast6, anycast4} {
			check(t, l.Router.AwaitHops(t.Context(), soon, netip.MustParseAddr(a)))
			t.Logf("%s is withdrawn within %s after the link's death", a, time.Since(start).Round(time.Millisecond))
		}
	}
}

// awaitNoLink waits until the node has no such link: the kernel takes its time over a namespace.
func awaitNoLink(t *testing.T, n *lab.Node, link string) {
	t.Helper()
	check(t, lab.Within(t.Context(), within, link+" is gone", func() error {
		if _, err := n.Run(t.Context(), "ip", "link", "show", link); err == nil {
			return errors.New("it is there")
		}
		return nil
	}))
}
