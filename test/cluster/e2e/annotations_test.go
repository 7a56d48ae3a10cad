// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"flock.fritzlab.net/flock/test/cluster"
	"flock.fritzlab.net/flock/test/lab"
)

// TestAnnotations gives pods each of the seven annotations.
func TestAnnotations(t *testing.T) {
	s := newSpace(t, "annotations")
	n := site.Nodes[0]
	inside := func(cidr string) func(netip.Addr) bool { return netip.MustParsePrefix(cidr).Contains }
	tests := []struct {
		name    string
		options []option
		want    []func(netip.Addr) bool
	}{
		{"ipv6", []option{annotated("ipv6", "false")}, []func(netip.Addr) bool{n.Pool4.Contains}},
		{"ipv4", []option{annotated("ipv4", "false")}, []func(netip.Addr) bool{n.Pool6.Contains}},
		{"cidr6", []option{annotated("cidr6", "2001:db8:244:1:c::/80")}, []func(netip.Addr) bool{n.Pool4.Contains, inside("2001:db8:244:1:c::/80")}},
		{"cidr4", []option{annotated("cidr4", "10.244.1.192/26")}, []func(netip.Addr) bool{inside("10.244.1.192/26"), n.Pool6.Contains}},
		{"algo", []option{annotated("ip-algo", "namespace,pod")}, []func(netip.Addr) bool{n.Pool4.Contains, inside(algoPrefix(n, "annotations", "algo"))}},
		{"fixed", []option{annotated("addresses", "2001:db8:f::7,10.99.0.7")}, []func(netip.Addr) bool{inside("10.99.0.7/32"), inside("2001:db8:f::7/128")}},
		{"anycast", []option{annotated("anycast", "2001:db8:a::7,10.98.0.7")}, []func(netip.Addr) bool{n.Pool4.Contains, n.Pool6.Contains}},
	}
	for _, tt := range tests {
		s.run(tt.name, append(tt.options, on(n))...)
	}
	for _, tt := range tests {
		pod := s.ready(tt.name)[0]
		all := addresses(pod)
		if len(all) != len(tt.want) {
			t.Errorf("%s has %v, want %d addresses", pod.Name, all, len(tt.want))
			continue
		}
		for i, a := range all {
			if !tt.want[i](a) {
				t.Errorf("%s has %s", pod.Name, a)
			}
			s.ping(a)
		}
	}
	for _, a := range []string{"2001:db8:a::7", "10.98.0.7"} {
		s.ping(netip.MustParseAddr(a))
	}
	if out := s.exec("anycast", "addresses"); !strings.Contains(out, "2001:db8:a::7/128") || !strings.Contains(out, "10.98.0.7/32") {
		t.Errorf("the pod with anycast addresses has\n%s", out)
	}
}

// algoPrefix returns what docs/ip-algo.md says a pod's address starts with in a /64.
func algoPrefix(n *cluster.Node, fields ...string) string {
	address := n.Pool6.Addr().As16()
	var nibbles []byte
	for _, field := range fields {
		hash := fnv.New64a()
		hash.Write([]byte(field))
		for i := range 6 {
			nibbles = append(nibbles, byte(hash.Sum64()>>(60-4*i))&0xf)
		}
	}
	for i := range nibbles {
		address[8+i/2] |= nibbles[i] << (4 * (1 - i%2))
	}
	return netip.PrefixFrom(netip.AddrFrom16(address), 112).String()
}

// ping reaches the address from the router before long: a route may be on its way.
func (s *space) ping(a netip.Addr) {
	s.Helper()
	s.within(10*time.Second, "the router reaches "+a.String(), func() error {
		_, err := site.Router.Ping(s.Context(), a, lab.PingOptions{})
		return err
	})
}

// TestBadAnnotations gives pods what cannot be honoured, and looks at what their user sees.
func TestBadAnnotations(t *testing.T) {
	s := newSpace(t, "bad")
	s.run("holder", on(site.Nodes[0]), annotated("addresses", "10.99.0.9"))
	s.ready("holder")
	tests := []struct {
		key, value string
		reason     string // of the Event
		want       string // of its text
	}{
		{"ipv6", "maybe", "BadAnnotation", "maybe"},
		{"ipv4", "1", "BadAnnotation", `"1"`},
		{"cidr6", "2001:db8:ffff::/64", "BadAnnotation", "default6 (2001:db8:244:1::/64)"},
		{"cidr4", "10.244.1.0", "BadAnnotation", "10.244.1.0"},
		{"ip-algo", "colour", "BadAnnotation", "colour"},
		{"addresses", "10.99.0.9", "AddressTaken", "10.99.0.9"},
		{"anycast", "here", "BadAnnotation", "here"},
	}
	for _, tt := range tests {
		s.run(tt.key, on(site.Nodes[0]), annotated(tt.key, tt.value))
	}
	for _, tt := range tests {
		s.within(time.Minute, tt.key+" is complained of", func() error {
			return s.complaint(tt.key, tt.reason, tt.want)
		})
		// The kubelet tells the one and the other by themselves.
		s.within(time.Minute, "the pod with "+tt.key+" is being created", func() error {
			pod, err := s.get(tt.key)
			if err == nil && waiting(pod) != "ContainerCreating" {
				err = fmt.Errorf("it waits for %q", waiting(pod))
			}
			return err
		})
	}
	t.Logf("kubectl describe pod cidr6:\n%s", events(s.kubectl("describe", "pod", "cidr6")))
}

// complaint wants flock's Event and kubelet's on the pod, as kubectl describe shows them, with the words in both.
func (s *space) complaint(pod, reason, words string) error {
	shown := events(s.kubectl("describe", "pod", pod))
	for _, want := range []string{reason, "FailedCreatePodSandBox"} {
		if !slices.ContainsFunc(strings.Split(shown, "\n"), func(line string) bool {
			return strings.Contains(line, " "+want+" ") && strings.Contains(line, words)
		}) {
			return fmt.Errorf("no Event %s with %q is among\n%s", want, words, shown)
		}
	}
	return nil
}

func events(description string) string {
	_, shown, _ := strings.Cut(description, "\nEvents:")
	return shown
}

func waiting(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Waiting != nil {
			return c.State.Waiting.Reason
		}
	}
	return ""
}
