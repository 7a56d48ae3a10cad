// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func twoNetns(t *testing.T, mtu int) (a, b *Netns) {
	t.Helper()
	for _, n := range []**Netns{&a, &b} {
		ns, err := NewNetns(fmt.Sprintf("flt-lab-%d-%d", os.Getpid(), nextNetns()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ns.Delete(); err != nil {
				t.Error(err)
			}
		})
		*n = ns
	}
	cable := Cable{MTU: mtu,
		A: End{a, "left", []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64"), netip.MustParsePrefix("10.0.0.1/24")}},
		B: End{b, "right", []netip.Prefix{netip.MustParsePrefix("2001:db8::2/64"), netip.MustParsePrefix("10.0.0.2/24")}},
	}
	if err := cable.Lay(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

var netnsCount int

func nextNetns() int { netnsCount++; return netnsCount }

func TestPing(t *testing.T) {
	a, _ := twoNetns(t, 1500)
	tests := []struct {
		to   string
		size int
		want string // of the error; none when empty
	}{
		{"2001:db8::2", 64, ""},
		{"10.0.0.2", 64, ""},
		{"2001:db8::2", 1500, ""},
		{"10.0.0.2", 1500, ""},
		{"2001:db8::2", 1501, "message too long"},
		{"10.0.0.2", 1501, "message too long"},
		{"2001:db8:ffff::1", 64, "network is unreachable"},
	}
	for _, tt := range tests {
		_, err := a.Ping(t.Context(), netip.MustParseAddr(tt.to), PingOptions{Size: tt.size})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Ping(%s, %d bytes) = %v, want %q", tt.to, tt.size, err, tt.want)
		}
	}
}

func TestAsk(t *testing.T) {
	a, b := twoNetns(t, 1500)
	service, err := b.Serve(t.Context(), "web", 8080, netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("10.0.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	for _, network := range []string{"udp", "tcp"} {
		for _, to := range []string{"[2001:db8::2]:8080", "10.0.0.2:8080"} {
			answer, err := a.Ask(t.Context(), network, netip.MustParseAddrPort(to))
			if err != nil || answer != "web" {
				t.Errorf("Ask(%s, %s) = %q, %v; want web", network, to, answer, err)
			}
		}
	}
}

func TestDeleteEndsProcesses(t *testing.T) {
	a, _ := twoNetns(t, 1500)
	if _, err := a.Run(t.Context(), "sh", "-c", "sleep 1000 >/dev/null 2>&1 &"); err != nil {
		t.Fatal(err)
	}
	if pids, err := a.PIDs(); err != nil || len(pids) != 1 {
		t.Fatalf("PIDs = %v, %v; want one", pids, err)
	}
	if err := a.Delete(); err != nil {
		t.Fatal(err)
	}
	if a.Exists() {
		t.Error("the namespace still exists")
	}
	if err := a.Delete(); err != nil {
		t.Errorf("deleting an absent namespace: %v", err)
	}
}
