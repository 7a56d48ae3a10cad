// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/test/build"
)

// TestMainPlugins lets the reference plugins delegate, and compares what the container then has.
func TestMainPlugins(t *testing.T) {
	reference, err := build.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const (
		onLink = `addr 10.0.0.2/32
addr 2001:db8::2/128
route default via 169.254.1.1 dev eth0
route 10.0.0.2 dev eth0 scope link
route 169.254.1.1 dev eth0 scope link
route6 2001:db8::2 dev eth0
route6 fe80::1 dev eth0
route6 default via fe80::1 dev eth0`
		subnet = `addr 10.0.0.2/24
addr 2001:db8::2/64
route default via 10.0.0.1 dev eth0
route 10.0.0.0/24 dev eth0 scope link src 10.0.0.2
route6 2001:db8::/64 dev eth0
route6 default via 2001:db8::1 dev eth0`
		ptp = `addr 10.0.0.2/24
addr 2001:db8::2/64
route default via 10.0.0.1 dev eth0
route 10.0.0.0/24 via 10.0.0.1 dev eth0 src 10.0.0.2
route 10.0.0.1 dev eth0 scope link src 10.0.0.2
route6 2001:db8::1 dev eth0 src 2001:db8::2
route6 2001:db8::/64 via 2001:db8::1 dev eth0 src 2001:db8::2
route6 default via 2001:db8::1 dev eth0`
	)
	tests := []struct {
		name string
		main object
		want string
		fast bool // without the wait for duplicate address detection
	}{
		{"ptp", object{"type": "ptp"}, ptp, false},
		{"bridge that is a gateway", object{"type": "bridge", "bridge": "br0", "isGateway": true}, subnet, false},
		{"bridge that is the default gateway", object{"type": "bridge", "bridge": "br0", "isDefaultGateway": true}, subnet, false},
		{"bridge", object{"type": "bridge", "bridge": "br0"}, onLink, true},
		{"macvlan", object{"type": "macvlan", "master": "uplink"}, onLink, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, nil)
			n.ip("host", "link add uplink type veth peer name router")
			n.ip("host", "link set uplink up")
			n.ip("host", "link set router up")
			n.delegated(tt.main, object{"pools": dual})
			start := time.Now()
			result := n.delegate(reference, "ADD")
			if took := time.Since(start); tt.fast && took > time.Second {
				t.Errorf("ADD took %v", took)
			}
			if diff := cmp.Diff(tt.want, n.container()); diff != "" {
				t.Errorf("the container (-want +got):\n%s", diff)
			}
			n.has("flock/a/eth0 committed [2001:db8::2 10.0.0.2]")
			n.conf["prevResult"] = json.RawMessage(result)
			n.delegate(reference, "CHECK")
			n.delegate(reference, "DEL")
			n.has("")
		})
	}
}

// delegate runs the configuration's main plugin, which finds flock-ipam by CNI_PATH.
func (n *node) delegate(reference, verb string) string {
	n.t.Helper()
	stdin, err := json.Marshal(n.conf)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(reference, n.conf["type"].(string)))
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=a", "CNI_IFNAME=eth0", "CNI_NETNS=" + n.pod.Path(),
		"CNI_PATH=" + filepath.Dir(binary), "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
	}
	cmd.Stdin = bytes.NewReader(stdin)
	var out []byte
	err = n.host.Do(func() (err error) {
		out, err = cmd.Output()
		return err
	})
	if err != nil {
		n.t.Fatalf("%s of %v: %v: %s", verb, n.conf["type"], err, out)
	}
	return string(out)
}

// ip runs ip(8) in the host's namespace or the pod's.
func (n *node) ip(where, args string) string {
	n.t.Helper()
	ns := n.host
	if where == "pod" {
		ns = n.pod
	}
	out, err := ns.Run(context.Background(), "ip", strings.Fields(args)...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// container shows the global addresses of the container, and its routes but for those of link-local
// and multicast addresses.
func (n *node) container() string {
	n.t.Helper()
	var lines []string
	for line := range strings.Lines(n.ip("pod", "-o addr show dev eth0 scope global")) {
		lines = append(lines, "addr "+strings.Fields(line)[3])
	}
	slices.Sort(lines)
	for _, family := range []struct{ flag, word string }{{"-4", "route "}, {"-6", "route6 "}} {
		for line := range strings.Lines(n.ip("pod", family.flag+" route show")) {
			line, _, _ = strings.Cut(line, " metric ")
			line = strings.ReplaceAll(strings.TrimSpace(line), " proto kernel", "")
			if !strings.HasPrefix(line, "fe80::/64") && !strings.HasPrefix(line, "multicast") {
				lines = append(lines, family.word+strings.ReplaceAll(line, " linkdown", ""))
			}
		}
	}
	return strings.Join(lines, "\n")
}
