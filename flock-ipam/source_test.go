// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/flock-ipam/internal/ipalgo"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/plugins/cni"
)

const (
	podArgs  = "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=9f1c"
	ipv4Only = "ip 10.0.0.2/32 gw 169.254.1.1\nroute 0.0.0.0/0 via 169.254.1.1"
)

// ipamd is a daemon that gives one answer, and counts how often it is asked.
type ipamd struct {
	mu     sync.Mutex
	asked  []cni.Pod
	answer lookup.Answer
	err    error
}

func (d *ipamd) handle(context.Context, cni.Pod) (lookup.Answer, error) { return d.answer, d.err }

// serve lets the node's configuration name the daemon's socket.
func (d *ipamd) serve(n *node) {
	n.t.Helper()
	socket := filepath.Join(n.t.TempDir(), "ipamd.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { l.Close() })
	n.conf["socket"] = socket
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go lookup.Server{Handle: func(ctx context.Context, pod cni.Pod) (lookup.Answer, error) {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.asked = append(d.asked, pod)
				return d.handle(ctx, pod)
			}}.Serve(context.Background(), conn)
		}
	}()
}

func (d *ipamd) wasAsked(t *testing.T, want ...cni.Pod) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if fmt.Sprint(d.asked) != fmt.Sprint(want) {
		t.Errorf("ipamd was asked for %v, want %v", d.asked, want)
	}
}

var web = cni.Pod{Namespace: "default", Name: "web-0", UID: "9f1c"}

func TestAnnotationsFromTheRuntime(t *testing.T) {
	n, d := newNode(t, object{"pools": dual}), &ipamd{}
	d.serve(n)
	n.annotate("ipv6=false")
	n.add("a", ipv4Only, podArgs)
	d.wasAsked(t)
}

// TestEmptyAnnotations: an empty answer of the runtime is one, and nobody else is asked.
func TestEmptyAnnotations(t *testing.T) {
	for _, empty := range []any{object{}, nil} {
		n, d := newNode(t, object{"pools": []any{"10.0.0.0/24"}}), &ipamd{}
		d.serve(n)
		n.conf["runtimeConfig"] = object{capAnnotations: empty}
		n.add("a", ipv4Only, podArgs)
		d.wasAsked(t)
	}
}

func TestAnnotationsFromIpamd(t *testing.T) {
	n, d := newNode(t, object{"pools": dual}), &ipamd{}
	d.answer.Annotations = map[string]string{"flock.fritzlab.net/ipv6": "false", "other": "x"}
	d.serve(n)
	n.conf["runtimeConfig"] = object{"portMappings": []any{}}
	n.add("a", ipv4Only, podArgs)
	d.wasAsked(t, web)
	n.add("a", ipv4Only, podArgs)
	d.wasAsked(t, web)
}

func TestNoPod(t *testing.T) {
	n, d := newNode(t, object{"pools": []any{"10.0.0.0/24"}}), &ipamd{}
	d.serve(n)
	n.add("a", ipv4Only)
	d.wasAsked(t)
}

func TestNoAnswer(t *testing.T) {
	for what, answer := range map[string]error{
		"pod default/web-0 did not show up": lookup.ErrWaitExpired, "the informer has not synced": errors.New("the informer has not synced"),
	} {
		n, d := newNode(t, object{"pools": []any{"10.0.0.0/24"}}), &ipamd{}
		d.err = fmt.Errorf("%s: %w", what, answer)
		d.serve(n)
		n.refused(types.ErrTryAgainLater, what, "ADD", "a", podArgs)
		n.has("")
	}
}

// TestNoDaemon spends the whole wait: a daemon that is being started must be waited for.
func TestNoDaemon(t *testing.T) {
	t.Parallel()
	n := newNode(t, object{"pools": []any{"10.0.0.0/24"}})
	n.conf["socket"] = filepath.Join(n.dir, "none.sock")
	n.refused(types.ErrTryAgainLater, "read the annotations of pod default/web-0: ask ipamd at "+n.dir, "ADD", "a", podArgs)
	n.has("")
}

// TestImage shows the image's digest where ipamd knows it, and else the container's ID.
func TestImage(t *testing.T) {
	const digest = "sha256:5d0d"
	keys := object{"pools": []any{"2001:db8::/64"}, "ipAlgo": []string{"image"}}
	tests := []struct {
		name  string
		node  func(*node, *ipamd)
		shown string
	}{
		{"beside its annotations", func(n *node, d *ipamd) { d.answer.Image = digest; d.serve(n) }, digest},
		{"beside the runtime's annotations", func(n *node, d *ipamd) { d.answer.Image = digest; d.serve(n); n.annotate() }, digest},
		{"unknown", func(n *node, d *ipamd) { d.serve(n); n.annotate() }, "a"},
		{"no daemon", func(n *node, _ *ipamd) { n.annotate(); n.conf["socket"] = n.dir + "/none" }, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, keys)
			tt.node(n, &ipamd{})
			hash := fmt.Sprintf("%016x", ipalgo.Hash(tt.shown))
			want := fmt.Sprintf("2001:db8::%s:%s:%s:", trim(hash[:4]), trim(hash[4:8]), trim(hash[8:12]))
			if got := draw(t, n.ok("ADD", "a", podArgs)); !strings.HasPrefix(got, "ip "+want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// trim writes a group of an address as netip does.
func trim(group string) string {
	if trimmed := strings.TrimLeft(group, "0"); trimmed != "" {
		return trimmed
	}
	return "0"
}
