// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// TestCheckAnycast shows that birdd may announce and withdraw an anycast address as its pod's readiness
// comes and goes, and that nobody may withdraw one that was announced at once.
func TestCheckAnycast(t *testing.T) {
	const addr = "2001:db8:a::1"
	for _, tt := range []struct {
		name          string
		atADD, now    string // the configuration
		announced, ok bool
	}{
		{"not ready", "ready", "ready", false, true},
		{"ready", "ready", "ready", true, true},
		{"not ready, configured otherwise since", "ready", "immediate", false, true},
		{"at once", "immediate", "immediate", true, true},
		{"at once and withdrawn", "immediate", "immediate", false, false},
		{"at once and withdrawn, configured otherwise since", "immediate", "ready", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, "v1")
			n.conf["anycast"] = tt.atADD
			n.must(t, "ADD", "v1", "2001:db8::1", addr+"@lo")
			n.announce(tt.announced, addr)
			n.conf["anycast"] = tt.now
			err := n.call("CHECK", "v1", "2001:db8::1", addr+"@lo")
			if tt.ok && err != nil {
				t.Errorf("CHECK: %s", hosttest.Describe(err))
			}
			if want := "109: check: address " + addr + " is not announced"; !tt.ok && !strings.HasPrefix(hosttest.Describe(err), want) {
				t.Errorf("CHECK: %s, want %s", hosttest.Describe(err), want)
			}
		})
	}
}

// announce does what birdd does about the anycast address of v1.
func (n *node) announce(wanted bool, addr string) {
	n.Netlink(func(c *rtnl.Conn) error {
		board := announce.NewBoard(c, rebuild.Store(n.stateDir))
		do := board.Withdraw
		if wanted {
			do = board.Announce
		}
		return do(cni.Attachment{Network: "flock", ContainerID: "v1", IfName: "eth0"}, netip.MustParseAddr(addr))
	})
}
