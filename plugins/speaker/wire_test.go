// SPDX-License-Identifier: Apache-2.0

package speaker

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-plugin"
)

// fake answers what it is told to, and keeps what it is given.
type fake struct {
	config    Config
	announced []netip.Prefix
	modes     []StopMode
	status    Status
	err       error
}

func (f *fake) Configure(_ context.Context, c Config) error {
	f.config = c
	return f.err
}

func (f *fake) Status(_ context.Context, announced []netip.Prefix) (Status, error) {
	f.announced = announced
	return f.status, f.err
}

func (f *fake) Stop(_ context.Context, mode StopMode) error {
	f.modes = append(f.modes, mode)
	return f.err
}

// reach returns the fake as birdd sees it.
func reach(t *testing.T, f *fake) Speaker {
	t.Helper()
	client, server := plugin.TestPluginGRPCConn(t, false, versions(&server{speaker: f})[1])
	t.Cleanup(func() { client.Close(); server.Stop() })
	s, err := client.Dispense(Kind)
	if err != nil {
		t.Fatal(err)
	}
	return s.(Speaker)
}

var compareAll = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
	cmp.Comparer(func(a, b Password) bool { return a.Reveal() == b.Reveal() }),
}

func aConfig() Config {
	prefix, addr, pref, med := netip.MustParsePrefix, netip.MustParseAddr, uint32(200), uint32(0)
	return Config{
		Node: "node-1", Table: 7273, LocalASN: 4200000001, RouterID: addr("10.0.0.1"),
		Summaries: []netip.Prefix{prefix("2001:db8:1::/64"), prefix("10.1.0.0/24")}, ExportAccept: []netip.Prefix{prefix("::/0")},
		Own: []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")},
		Peers: []Peer{
			{
				Name: "tor-a", Address: addr("fe80::1"), Interface: "eth0", LocalAddress: addr("2001:db8::1"), ASN: 64500, IPv4: true, IPv6: true,
				Password: NewPassword("hunter2 \\"), BFD: BFDGraceful, HoldTime: 90 * time.Second, KeepaliveTime: 30 * time.Second, GracefulRestart: true,
				Multihop: 255, Communities: [][2]uint16{{64500, 1}, {65535, 65535}}, LargeCommunities: [][3]uint32{{1, 2, 4294967295}},
				LocalPref: &pref, MED: &med, ImportAccept: []PrefixMatch{{prefix("::/0"), 0}, {prefix("10.0.0.0/8"), 24}}, MaxPrefixes: 1000,
			},
			{Name: "tor-b", Interface: "eth1", ASN: 64501},
		},
	}
}

func TestConfigure(t *testing.T) {
	for _, config := range []Config{{}, aConfig()} {
		f := &fake{}
		if err := reach(t, f).Configure(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(config, f.config, compareAll); diff != "" {
			t.Errorf("the speaker got (-want +got):\n%s", diff)
		}
	}
}

func TestConfigureRefused(t *testing.T) {
	f := &fake{err: &RefusedError{"bgp.peers[tor-a].bfd", "there is no BFD"}}
	err := reach(t, f).Configure(t.Context(), Config{})
	if refused := (*RefusedError)(nil); !errors.As(err, &refused) || *refused != *f.err.(*RefusedError) {
		t.Errorf("Configure: %v", err)
	}
}

func TestStatus(t *testing.T) {
	prefix := netip.MustParsePrefix("2001:db8:1::/64")
	f := &fake{status: Status{
		Version: "speaker 1", RouterID: netip.MustParseAddr("10.0.0.1"),
		Sessions: []Session{
			{Peer: "tor-a", Name: "a", Address: netip.MustParseAddr("fe80::a%eth0"), ASN: 64500, State: Established,
				Since: time.Date(2026, 11, 23, 14, 0, 0, 5, time.UTC), Families: []Family{{"ipv4", 1, 2}, {"ipv6", 0, 4}}},
			{Peer: "tor-b", Name: "b", State: Idle, LastError: "refused"},
		},
		Sent: map[netip.Prefix][]string{prefix: {"a", "b", "nobody"}},
	}}
	got, err := reach(t, f).Status(t.Context(), []netip.Prefix{prefix})
	if err != nil {
		t.Fatal(err)
	}
	f.status.Sent[prefix] = []string{"a"} // which is up
	if diff := cmp.Diff(f.status, got, compareAll); diff != "" {
		t.Errorf("Status (-want +got):\n%s", diff)
	}
	if !slices.Equal(f.announced, []netip.Prefix{prefix}) {
		t.Errorf("the speaker was asked for %v", f.announced)
	}
}

// TestStatusOfALiar refuses answers that make no sense.
func TestStatusOfALiar(t *testing.T) {
	for want, status := range map[string]Status{
		`"Up" is no state`:              {Sessions: []Session{{State: "Up"}}},
		`"ipv5" is no address family`:   {Sessions: []Session{{State: Idle, Families: []Family{{Name: "ipv5"}}}}},
		"which it was not asked for":    {Sent: map[netip.Prefix][]string{netip.MustParsePrefix("10.0.0.0/8"): nil}},
		"string field contains invalid": {Version: "\xff"},
	} {
		if _, err := reach(t, &fake{status: status}).Status(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Status: %v, want %s", err, want)
		}
	}
}

func TestErrorsKeepTheirText(t *testing.T) {
	s := reach(t, &fake{err: errors.New("out of luck")})
	_, err := s.Status(t.Context(), nil)
	for want, err := range map[string]error{
		"configure the speaker: out of luck": s.Configure(t.Context(), Config{}), "stop the speaker: out of luck": s.Stop(t.Context(), StopNow),
		"ask the speaker for its status: out of luck": err,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Status(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Status without time: %v", err)
	}
}

func TestStopOnce(t *testing.T) {
	f := &fake{}
	s := reach(t, f)
	for range 2 {
		if err := s.Stop(t.Context(), StopNow); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(f.modes, []StopMode{StopNow}) {
		t.Errorf("it was stopped by %v", f.modes)
	}
}
