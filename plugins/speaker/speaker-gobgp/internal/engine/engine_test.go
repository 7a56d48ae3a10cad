// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/rib"
)

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix("2001:db8::/32")
)

// announcement is a router's, with the AS path 64500 and then those.
func announcement(t *testing.T, hop string, more ...bgp.PathAttributeInterface) *apiutil.Path {
	t.Helper()
	nlri, err := bgp.NewIPAddrPrefix(prefix)
	if err != nil {
		t.Fatal(err)
	}
	reach, err := bgp.NewPathAttributeMpReachNLRI(bgp.RF_IPv6_UC, []bgp.PathNLRI{{NLRI: nlri}}, addr(hop))
	if err != nil {
		t.Fatal(err)
	}
	return &apiutil.Path{Nlri: nlri, Family: bgp.RF_IPv6_UC, Age: 7, Attrs: append(more, reach)}
}

func asPath(asns ...uint32) bgp.PathAttributeInterface {
	return bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, asns)})
}

func TestPath(t *testing.T) {
	e := &Engine{Identity: Identity{ASN: 64512, RouterID: addr("10.0.0.1")}}
	external := Neighbor{Peer: speaker.Peer{ASN: 64500}, Address: addr("fd00::1")}
	internal := Neighbor{Peer: speaker.Peer{ASN: 64512}, Address: addr("fd00::1")}
	linkLocal := Neighbor{Peer: speaker.Peer{ASN: 64500}, Address: addr("fe80::1%eth0")}
	reflected, err := bgp.NewPathAttributeOriginatorId(addr("10.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	base := rib.Path{Prefix: prefix, Session: "fd00::1", NextHop: addr("fd00::1"), NeighborAS: 64500, LocalPref: 100, ASPathLength: 1, Age: 7}
	for _, test := range []struct {
		name   string
		from   Neighbor
		in     *apiutil.Path
		change func(*rib.Path) // nil: there is none
	}{
		{"plain", external, announcement(t, "fd00::1", asPath(64500)), func(*rib.Path) {}},
		{"attributes", external, announcement(t, "fd00::9", asPath(64501, 64502), bgp.NewPathAttributeMultiExitDisc(5),
			bgp.NewPathAttributeOrigin(2), bgp.NewPathAttributeLocalPref(200)), func(p *rib.Path) {
			p.NextHop, p.NeighborAS, p.ASPathLength, p.MED, p.Origin = addr("fd00::9"), 64501, 2, 5, 2
		}},
		{"internal", internal, announcement(t, "fd00::1", bgp.NewPathAttributeLocalPref(200)), func(p *rib.Path) {
			p.Internal, p.LocalPref, p.NeighborAS, p.ASPathLength = true, 200, 64512, 0
		}},
		{"come round", external, announcement(t, "fd00::1", asPath(64500, 64512)), nil},
		{"reflected", internal, announcement(t, "fd00::1", reflected), nil},
		{"link-local next hop", linkLocal, announcement(t, "fe80::2", asPath(64500)), func(p *rib.Path) {
			p.Session, p.NextHop, p.LinkLocal = "fe80::1%eth0", netip.Addr{}, addr("fe80::2")
		}},
		{"both next hops", linkLocal, announcement(t, "fd00::1", asPath(64500)), func(p *rib.Path) {
			p.Session, p.LinkLocal = "fe80::1%eth0", addr("fe80::1")
		}},
		{"IPv4 link-local", external, announcement(t, "169.254.77.1", asPath(64500)), func(p *rib.Path) { p.NextHop = addr("169.254.77.1") }},
		{"link-local beside none", linkLocal, announcement(t, "::", asPath(64500)), func(p *rib.Path) {
			p.Session, p.NextHop, p.LinkLocal = "fe80::1%eth0", netip.Addr{}, addr("fe80::1")
		}},
	} {
		got, ok := e.path(test.from, test.in)
		if ok != (test.change != nil) {
			t.Errorf("%s: there is a path: %t", test.name, ok)
		}
		if test.change == nil {
			continue
		}
		want := base
		test.change(&want)
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestFailures: why a session is not up comes out of GoBGP's events and its log; what the log has of debugging is not passed on.
func TestFailures(t *testing.T) {
	f := newFailures()
	var out bytes.Buffer
	log := slog.New(f.handler(slog.NewTextHandler(&out, nil)))
	a := addr("fe80::1%eth0")
	peer := log.With(slog.String("Topic", "Peer"), slog.String("Key", a.String()))
	want := func(text string) {
		t.Helper()
		if got, _ := f.last(a); !strings.Contains(got, text) || text == "" && got != "" {
			t.Errorf("the last error is %q, not %q", got, text)
		}
	}
	log.Debug("failed to connect", "Error", "of nobody")
	peer.Debug("state changed", "Error", "none")
	want("")
	peer.Debug("failed to connect", "Error", "connection refused")
	want("connection refused")
	peer.Info("received notification", slog.Int("Code", 6), slog.Int("Subcode", 2))
	want("received notification: ")
	at := time.Unix(7, 0)
	f.state(apiutil.PeerState{NeighborAddress: a, SessionState: bgp.BGP_FSM_IDLE, DisconnectMessage: "hold-timer-expired"}, at)
	f.state(apiutil.PeerState{NeighborAddress: a, SessionState: bgp.BGP_FSM_ACTIVE, DisconnectMessage: "idle-hold-timer-expired"}, at.Add(1))
	want("hold-timer-expired")
	if _, since := f.last(a); !since.Equal(at.Add(1)) {
		t.Errorf("it is in its state since %s", since)
	}
	f.forget(a)
	want("")
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "received notification") {
		t.Errorf("the log is %s", out.String())
	}
}

// TestSameSession: what only concerns announcements and what is taken needs no new session; everything else does.
func TestSameSession(t *testing.T) {
	n := Neighbor{Address: addr("fd00::1"), Peer: speaker.Peer{
		Name: "tor", ASN: 64500, IPv6: true, GracefulRestart: true, HoldTime: 90 * time.Second, KeepaliveTime: 30 * time.Second}}
	for name, test := range map[string]struct {
		change  func(*speaker.Peer)
		session bool
		sent    bool
	}{
		"nothing":     {func(*speaker.Peer) {}, true, true},
		"name":        {func(p *speaker.Peer) { p.Name = "other" }, true, true},
		"import":      {func(p *speaker.Peer) { p.MaxPrefixes = 7 }, true, true},
		"communities": {func(p *speaker.Peer) { p.Communities = [][2]uint16{{1, 2}} }, true, false},
		"MED":         {func(p *speaker.Peer) { p.MED = new(uint32) }, true, false},
		"ASN":         {func(p *speaker.Peer) { p.ASN = 64501 }, false, true},
		"password":    {func(p *speaker.Peer) { p.Password = speaker.NewPassword("x") }, false, true},
		"hold time":   {func(p *speaker.Peer) { p.HoldTime = 9 * time.Second }, false, true},
		"families":    {func(p *speaker.Peer) { p.IPv4 = true }, false, true},
		"multihop":    {func(p *speaker.Peer) { p.Multihop = 2 }, false, true},
		"interface":   {func(p *speaker.Peer) { p.Interface = "eth0" }, false, true},
		"restart":     {func(p *speaker.Peer) { p.GracefulRestart = false }, false, true},
	} {
		changed := n
		changed.Restarting = true
		test.change(&changed.Peer)
		if got := n.sameSession(changed, 64512); got != test.session {
			t.Errorf("%s: the same session: %t", name, got)
		}
		if got := n.sameAttributes(changed); got != test.sent {
			t.Errorf("%s: the same attributes: %t", name, got)
		}
	}
}
