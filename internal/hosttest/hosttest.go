// SPDX-License-Identifier: Apache-2.0

// Package hosttest is for tests: a network namespace in the part of a node, and one for each of its pods,
// joined by a veth pair that is otherwise empty.
package hosttest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

// Host is a namespace of a test. It is deleted when the test ends.
type Host struct {
	*lab.Netns
	// Pods are the pods' namespaces by the name of their link on the host.
	Pods map[string]*lab.Netns
	tb   testing.TB
}

// New makes a host with a pod at a link of each name.
func New(tb testing.TB, links ...string) *Host {
	tb.Helper()
	h := &Host{Netns: newNetns(tb), Pods: map[string]*lab.Netns{}, tb: tb}
	for _, name := range links {
		h.AddPod(name)
	}
	return h
}

func newNetns(tb testing.TB) *lab.Netns {
	tb.Helper()
	kind, _, _ := strings.Cut(strings.ToLower(tb.Name()), "/")
	ns, err := lab.NewNetns(lab.UniqueName("flt-" + kind))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			tb.Error(err)
		}
	})
	return ns
}

// AddPod adds a pod; its link on the host gets the name, and has a carrier when AddPod returns. A pod that
// was there under the name must be dead.
func (h *Host) AddPod(link string) {
	h.tb.Helper()
	pod := newNetns(h.tb)
	h.IP("link add " + link + " type veth peer name eth0 netns " + pod.Name)
	h.IP("link set " + link + " up")
	if _, err := pod.Run(context.Background(), "ip", "link", "set", "eth0", "up"); err != nil {
		h.tb.Fatal(err)
	}
	h.Pods[link] = pod
}

// Kill deletes a pod's namespace, and waits until its link is gone from the host.
func (h *Host) Kill(link string) {
	h.tb.Helper()
	if err := h.Pods[link].Delete(); err != nil {
		h.tb.Fatal(err)
	}
	err := lab.Within(context.Background(), 10*time.Second, link+" is gone", func() error {
		if _, err := h.Run(context.Background(), "ip", "link", "show", link); err == nil {
			return errors.New("it is there")
		}
		return nil
	})
	if err != nil {
		h.tb.Fatal(err)
	}
}

// IP runs ip(8) inside the host and returns what it printed, without the spaces at the ends of lines. Like
// all that may be called on any goroutine it does not end the test when it fails.
func (h *Host) IP(args string) string {
	h.tb.Helper()
	out, err := h.Run(context.Background(), "ip", strings.Fields(args)...)
	if err != nil && !strings.Contains(err.Error(), "FIB table does not exist") {
		h.tb.Error(err)
	}
	return tidy(out)
}

// Routes returns the routes of the table, IPv6 before IPv4, as ip(8) shows them, less those that the
// kernel makes for links.
func (h *Host) Routes(table string) string {
	h.tb.Helper()
	var kept []string
	for _, family := range []string{"-6", "-4"} {
		for line := range strings.Lines(h.IP(family + " route show table " + table)) {
			if !strings.Contains(line, "proto kernel") {
				kept = append(kept, line)
			}
		}
	}
	return tidy(strings.Join(kept, "\n"))
}

// Nexthops returns the nexthop objects as ip(8) shows them.
func (h *Host) Nexthops() string {
	h.tb.Helper()
	return h.IP("-6 nexthop show")
}

// tidy also writes the numbers of nexthop objects, which are hashes, as N, and leaves out "linkdown", which
// the kernel adds when it comes to it.
func tidy(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		for i := range words[:max(0, len(words)-1)] {
			if words[i] == "nhid" {
				words[i+1] = "N"
			}
		}
		if len(words) > 0 {
			lines = append(lines, strings.TrimSuffix(strings.Join(words, " "), " linkdown"))
		}
	}
	return strings.Join(lines, "\n")
}

// Netlink runs fn on a thread inside the host, with a connection. fn returns what is fatal: it runs on
// another goroutine than the test.
func (h *Host) Netlink(fn func(*rtnl.Conn) error) {
	h.tb.Helper()
	err := h.Do(func() error {
		conn, err := rtnl.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		return fn(conn)
	})
	if err != nil {
		h.tb.Fatal(err)
	}
}
