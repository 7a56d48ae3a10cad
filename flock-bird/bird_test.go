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
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/test/lab"
)

// network is a node and its router, with BIRD in each.
type network struct {
	*node
	tb               testing.TB
	router           *lab.Netns
	nodeBIRD, rtBIRD *lab.Bird
}

// newNetwork returns when both BGP sessions are up.
func newNetwork(tb testing.TB, links ...string) *network {
	tb.Helper()
	router, err := lab.NewNetns(lab.UniqueName("flt-bird-router"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := router.Delete(); err != nil {
			tb.Error(err)
		}
	})
	n := &network{node: newNode(tb, links...), tb: tb, router: router}
	cable := lab.Cable{MTU: 1500,
		A: lab.End{Netns: n.Netns, Name: "up0", Addresses: prefixes("10.0.0.1/24", "fd00::1/64")},
		B: lab.End{Netns: router, Name: "up0", Addresses: prefixes("10.0.0.2/24", "fd00::2/64")},
	}
	if err := cable.Lay(); err != nil {
		tb.Fatal(err)
	}
	n.rtBIRD = n.startBIRD(router, "testdata/router.conf", filepath.Join(tb.TempDir(), "bird.ctl"))
	n.nodeBIRD = n.startBIRD(n.Netns, "testdata/node.conf", filepath.Join(n.stateDir, controlSocket))
	for _, bird := range []*lab.Bird{n.nodeBIRD, n.rtBIRD} {
		if err := bird.AwaitEstablished(context.Background(), 2); err != nil {
			tb.Fatal(err)
		}
	}
	return n
}

func prefixes(texts ...string) (parsed []netip.Prefix) {
	for _, text := range texts {
		parsed = append(parsed, netip.MustParsePrefix(text))
	}
	return parsed
}

func (n *network) startBIRD(ns *lab.Netns, template, socket string) *lab.Bird {
	n.tb.Helper()
	text, err := os.ReadFile(template)
	if err != nil {
		n.tb.Fatal(err)
	}
	config := filepath.Join(n.tb.TempDir(), "bird.conf") // its log goes beside it
	if err := os.WriteFile(config, text, 0o600); err != nil {
		n.tb.Fatal(err)
	}
	bird, err := ns.StartBird(context.Background(), config, socket)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.tb.Cleanup(func() {
		if bird.Running() {
			if err := bird.End(context.Background(), os.Kill); err != nil {
				n.tb.Error(err)
			}
		}
	})
	return bird
}

// soon is below the time between two scans of BIRD: what arrives in it did so by the kernel's messages.
const soon = 5 * time.Second

// atRouter waits until the router's kernel has exactly these destinations by BGP.
func (n *network) atRouter(limit time.Duration, when string, want ...string) {
	n.tb.Helper()
	slices.Sort(want)
	err := lab.Within(context.Background(), limit, "the router sees it "+when, func() error {
		var have []string
		for _, family := range []string{"-6", "-4"} {
			out, err := n.router.Run(context.Background(), "ip", family, "route", "show", "proto", "bird")
			if err != nil {
				return err
			}
			for line := range strings.Lines(out) {
				words := strings.Fields(line)
				have = append(have, strings.Join(words[:3], " "))
			}
		}
		slices.Sort(have)
		if diff := cmp.Diff(want, have); diff != "" {
			return fmt.Errorf("routes (-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		n.tb.Error(err)
	}
}

// TestBIRD shows each change as the router's kernel sees it.
func TestBIRD(t *testing.T) {
	n := newNetwork(t, "v1", "v2", "v3")
	n.conf["anycast"] = "immediate"
	n.IP("-6 route add blackhole 2001:db8::/64 table 7273 proto 73 metric 16")
	n.IP("route add blackhole 10.244.0.0/24 table 7273 proto 73 metric 16")
	summaries := []string{"2001:db8::/64 via fd00::1", "10.244.0.0/24 via 10.0.0.1"}
	fixed := []string{"2001:db8:f::1 via fd00::1", "10.5.0.1 via 10.0.0.1"}
	shared := []string{"2001:db8:a::1 via fd00::1", "10.9.9.9 via 10.0.0.1"}
	n.atRouter(soon, "with the summaries", summaries...)

	n.must(t, "ADD", "v1", "2001:db8::1", "10.244.0.1", "2001:db8:f::1", "10.5.0.1")
	n.atRouter(soon, "with fixed addresses", slices.Concat(summaries, fixed)...)
	n.must(t, "DEL", "v1", "2001:db8::1", "10.244.0.1", "2001:db8:f::1", "10.5.0.1")
	n.atRouter(soon, "without them", summaries...)

	for _, link := range []string{"v1", "v2", "v3"} {
		n.must(t, "ADD", link, "2001:db8:a::1@lo", "10.9.9.9@lo")
	}
	n.atRouter(soon, "with anycast addresses of three pods", slices.Concat(summaries, shared)...)
	events := n.watch(t)
	n.must(t, "DEL", "v1", "2001:db8:a::1@lo", "10.9.9.9@lo")
	n.Kill("v2")
	n.must(t, "ADD", "v3", "2001:db8:a::1@lo", "10.9.9.9@lo", "10.5.0.3")
	n.atRouter(soon, "with one of the pods left", slices.Concat(summaries, shared, []string{"10.5.0.3 via 10.0.0.1"})...)
	if got := strings.Join(events(), "\n"); strings.Contains(got, "2001:db8:a::1") || strings.Contains(got, "10.9.9.9") {
		t.Errorf("the router's kernel was told of pods that share an address:\n%s", got)
	}
	n.IP("link del v3")
	// The kernel tells of a dead link just before it removes the link's IPv4 routes, silently: BIRD, which
	// looks when it hears that, could be too early for once.
	n.atRouter(soon+10*time.Second, "after the last link's death", summaries...)
}

// watch returns what ends the watching and returns the router's route events since.
func (n *network) watch(t *testing.T) func() []string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "events")
	monitor, err := n.router.Start(log, "ip", "monitor", "route")
	if err != nil {
		t.Fatal(err)
	}
	return func() []string {
		if err := monitor.End(context.Background(), os.Interrupt); err != nil {
			t.Error(err)
		}
		text, err := os.ReadFile(log)
		if err != nil {
			t.Error(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

func TestStatusOfBIRD(t *testing.T) {
	n := newNetwork(t)
	status := func() string {
		_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "STATUS", Conf: n.conf})
		return hosttest.Describe(err)
	}
	if got := status(); got != "ok" {
		t.Errorf("STATUS with two sessions up: %s", got)
	}
	n.end(n.rtBIRD)
	err := lab.Within(context.Background(), 10*time.Second, "STATUS says that no session is up", func() error {
		if got := status(); !strings.HasPrefix(got, "51: look at BIRD's BGP sessions: none of 2 is established") {
			return fmt.Errorf("it says %s", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	n.end(n.nodeBIRD)
	if got := status(); !strings.HasPrefix(got, "51: ask BIRD for its BGP sessions: connect to BIRD") {
		t.Errorf("STATUS with BIRD killed: %s", got)
	}
}

func (n *network) end(bird *lab.Bird) {
	n.tb.Helper()
	if err := bird.End(context.Background(), os.Kill); err != nil {
		n.tb.Fatal(err)
	}
}
