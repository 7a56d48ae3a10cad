// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

func TestDel(t *testing.T) {
	for _, test := range []struct {
		name string
		// spoil changes things after the ADD, and what the DEL is told.
		spoil func(a *attachmentOf, prev **current.Result)
	}{
		{"plain", func(*attachmentOf, **current.Result) {}},
		{"without prevResult", func(_ *attachmentOf, prev **current.Result) { *prev = nil }},
		{"with a stage's prevResult", func(a *attachmentOf, prev **current.Result) { *prev = a.given(dual, anycast6, anycast4) }},
		{"interface gone from the pod", func(a *attachmentOf, prev **current.Result) { a.pod.run("ip link del eth0") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, a := newNode(t), newPod(t, "c1")
			a.pod.run("ip link set lo up")
			before := n.picture() + "\n" + a.pod.picture()
			n.must("DEL", a, nil)
			prev := n.add(a, a.given(dual, anycast6, anycast4))
			test.spoil(&a, &prev)
			n.must("DEL", a, prev)
			compare(t, "after DEL", before, n.picture()+"\n"+a.pod.picture())
			n.must("DEL", a, prev)
		})
	}
}

func TestDelOfADeadNamespace(t *testing.T) {
	for _, netns := range []string{"deleted", "not told"} {
		t.Run(netns, func(t *testing.T) {
			n, a := newNode(t), newPod(t, "c1")
			before := n.picture()
			prev := n.add(a, a.given(dual, anycast6))
			if netns == "deleted" {
				if err := a.pod.Delete(); err != nil {
					t.Fatal(err)
				}
			} else {
				a.pod.Netns = nil
			}
			n.must("DEL", a, prev)
			n.must("DEL", a, nil)
			compare(t, "host", before, n.picture())
		})
	}
}

// The path of a dead pod's namespace may be another pod's by now, which keeps its anycast address.
func TestDelLeavesTheNextPodAlone(t *testing.T) {
	for _, gone := range []bool{false, true} {
		n, a, b := newNode(t), newPod(t, "c1"), newPod(t, "c2")
		prev := n.add(a, a.given(dual, anycast6))
		n.add(b, b.given([]string{"2001:db8:1::6/128"}, anycast6))
		want := b.pod.picture()
		if gone {
			n.run("ip link del " + a.hostLink())
		}
		a.pod = b.pod
		n.must("DEL", a, prev)
		compare(t, "the other pod", want, b.pod.picture())
	}
}

func TestDelKeepsOthersOnLoopback(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	a.pod.run("ip addr add 192.0.2.99/32 dev lo")
	a.pod.run("ip -6 addr add 2001:db8:99::99/128 dev lo")
	n.add(a, a.given(dual, anycast6, anycast4))
	n.must("DEL", a, nil)
	compare(t, "lo", `
lo inet 127.0.0.1/8 scope host lo
lo inet 192.0.2.99/32 scope global lo
lo inet6 2001:db8:99::99/128 scope global
lo inet6 ::1/128 scope host`, strings.Split(a.pod.picture(), "\n2001:")[0])
}

func TestGC(t *testing.T) {
	n := newNode(t)
	a, b, c := newPod(t, "c1"), newPod(t, "c2"), newPod(t, "c3")
	n.add(a, a.given([]string{"10.1.0.1/32"}))
	second := a
	second.ifName = "net1"
	n.add(second, second.given([]string{"10.1.0.2/32"}))
	n.add(b, b.given([]string{"10.1.0.3/32"}))
	other := testNode{n.space, map[string]any{"cniVersion": "1.1.0", "name": "other", "type": name}}
	other.add(c, c.given([]string{"10.1.0.4/32"}))
	n.run("ip link add flock00000001 type veth peer name stranger")
	n.run("ip link set stranger alias flock:flock/c9/eth0") // but in no group
	want := n.picture()
	for _, gone := range []attachmentOf{b, second} {
		want = without(want, gone.hostLink())
	}

	n.conf["cni.dev/valid-attachments"] = []types.GCAttachment{{ContainerID: "c1", IfName: "eth0"}, {ContainerID: "c9", IfName: "eth1"}}
	n.must("GC", attachmentOf{}, nil)
	compare(t, "host", want, n.picture())
	n.must("GC", attachmentOf{}, nil)
	compare(t, "host", want, n.picture())
}

func without(text, word string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, word) {
			kept = append(kept, strings.TrimSuffix(line, "\n"))
		}
	}
	return strings.Join(kept, "\n")
}

func TestStatusAndVersion(t *testing.T) {
	n := newNode(t)
	n.must("STATUS", attachmentOf{}, nil)
	out, failure := n.exec("VERSION", attachmentOf{}, nil)
	if failure != nil {
		t.Fatal(failure)
	}
	var said struct {
		SupportedVersions []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(said.SupportedVersions, " "); got != "0.3.1 0.4.0 1.0.0 1.1.0" {
		t.Errorf("VERSION says %s", got)
	}
}
