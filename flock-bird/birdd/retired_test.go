// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/tor"
)

// board returns what flock-bird announces with.
func (s *site) board() *announce.Board {
	s.Helper()
	var conn *rtnl.Conn
	must(s.T, s.node.Do(func() (err error) { conn, err = rtnl.Dial(); return err }))
	s.Cleanup(conn.Close)
	return announce.NewBoard(conn, store.Store{Dir: s.dir})
}

var web = cni.Attachment{Network: "flock", ContainerID: "web", IfName: "eth0"}

// attach has the attachment web have the addresses, some of which it announces alone.
func (s *site) attach(board *announce.Board, addrs []netip.Addr, alone ...netip.Addr) {
	s.Helper()
	var link netlink.Link
	must(s.T, s.node.Netlink(func(h *netlink.Handle) (err error) { link, err = h.LinkByName("pod"); return err }))
	c := claim.Claim{Link: "pod", LinkIndex: link.Attrs().Index, Table: 7273, Unicast: addrs}
	must(s.T, board.Keeper().Take(web, c, func(*store.Tx) error { return nil }, func() error { return board.Install(c, alone...) }))
}

// TestRetiredPools: pools go that have a pod's addresses, where few single addresses may be announced. The pod's are, until
// it is gone.
func TestRetiredPools(t *testing.T) { bySpeaker(t, testRetiredPools) }

func testRetiredPools(t *testing.T, kind string) {
	few := strings.Replace(spec6, "localASN", `exportAccept: ["2001:db8:f::/64"]`+"\n    localASN", 1)
	more := strings.Replace(few, "pools: [",
		`pools: [{name: whole, cidr: "2001:db8:2::/64"}, {name: single, cidr: "2001:db8:3::/64", announce: addresses}, `, 1)
	s := newSite(t, kind, 1)
	r := s.routers[0]
	s.start(more, tor.IPv6)
	whole, single := netip.MustParseAddr("2001:db8:2::7"), netip.MustParseAddr("2001:db8:3::7")
	board := s.board()
	s.attach(board, []netip.Addr{whole, single}, single)
	s.ip("-6 route add 2001:db8:3::8 dev pod table 7273 proto 73 metric 16") // nobody's, for as long as the pool is there
	atRouter := func(prefix string) string { return prefix + " via fd00:1::2 dev node proto bird metric 32" }
	s.wantRoutes(r.Netns, "main", pool6AtRouter, atRouter("2001:db8:2::/64"), atRouter(single.String()), atRouter("2001:db8:3::8"))
	lost := s.watchDeletes(r.Netns)

	s.configure(few)
	kept := []string{pool6AtRouter, atRouter(whole.String()), atRouter(single.String()), atRouter("2001:db8:3::8")}
	s.wantRoutes(r.Netns, "main", slices.Clone(kept)...)
	must(t, s.birdd.End(t.Context(), unix.SIGKILL))
	s.startBirdd()
	s.configure(strings.Replace(few, "peerASN: 64500", "peerASN: 64500, med: 5", 1))
	s.eventually("the change is announced", func() error {
		out, err := r.Bird.Ask(t.Context(), "show route all "+whole.String()+"/128")
		if err == nil && !strings.Contains(out, "BGP.med: 5") {
			err = errNotExpected
		}
		return err
	})
	s.wantRoutes(r.Netns, "main", kept...)
	if got := lost(); !slices.Equal(got, []string{"2001:db8:2::/64"}) {
		t.Errorf("the router lost %v", got)
	}

	must(t, board.Keeper().Release(web, func(*store.Tx) (claim.Claim, error) { return claim.Claim{}, nil }))
	s.configure(few)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.eventually("birdd has done with the pools", func() error {
		text, err := os.ReadFile(s.path("birdd-pools"))
		if err == nil && string(text) != "2001:db8:1::/64\n" {
			err = fmt.Errorf("it notes\n%s", text)
		}
		return err
	})
}

// TestPoolsOfNextNodeConfig: a pool's summary stays until the speaker goes by a NodeConfig without it.
func TestPoolsOfNextNodeConfig(t *testing.T) {
	few := strings.Replace(spec6, "localASN", `exportAccept: ["2001:db8:f::/64"]`+"\n    localASN", 1)
	next := strings.Replace(few, "2001:db8:1::/64", "2001:db8:2::/64", 1)
	take := func(s *site) { s.configure(next) }
	for _, test := range []struct {
		name, kind, area, problem string
		spoil, mend               func(*site)
	}{
		{"refused", onGoBGP, "speaker gobgp", "bgp.peers[tor].bfd",
			func(s *site) {
				s.configure(strings.Replace(next, "peerASN: 64500", "peerASN: 64500, bfd: immediate", 1))
			}, take},
		{"undone", onBIRD, "BIRD", "undo configuration",
			func(s *site) { s.configure(strings.Replace(next, "peerASN: 64500", "peerASN: 64501", 1)) }, take},
		{"nobody", onBIRD, "speaker gobpg", "birdd speaker gobpg",
			func(s *site) { s.kind = "gobpg"; take(s); s.kind = onBIRD }, take},
		{"away", onBIRD, "BIRD", "connect to BIRD",
			func(s *site) { s.endSpeaker(); take(s) }, func(s *site) { s.startBird("-R") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, test.kind, 1)
			s.configure(few)
			s.startBirdd("--patience", "3s")
			s.startSpeakers(tor.IPv6)
			r, pod := s.routers[0], netip.MustParseAddr("2001:db8:1::7")
			s.wantRoutes(r.Netns, "main", pool6AtRouter)
			s.attach(s.board(), []netip.Addr{pod})
			test.spoil(s)
			s.wantProblem(test.area, test.problem)
			s.never(2*time.Second, "the summary is gone", func() bool {
				routes, err := tor.Routes(t.Context(), s.node, "7273")
				return err != nil || !slices.Contains(routes, pool6Announce)
			})
			s.wantRoutes(r.Netns, "main", pool6AtRouter)
			test.mend(s)
			s.wantRoutes(r.Netns, "main", "2001:db8:2::/64 via fd00:1::2 dev node proto bird metric 32", "2001:db8:1::7 via fd00:1::2 dev node proto bird metric 32")
			s.wantRoutes(s.node, "7273", "blackhole 2001:db8:2::/64 proto 73 metric 16", "2001:db8:1::7 dev pod proto 73 metric 16")
			s.wantProblem("", "")
		})
	}
}
