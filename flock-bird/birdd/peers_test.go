// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"flock.fritzlab.net/flock/test/tor"
)

// captureAdvertisement listens for a router advertisement on the link to the node; the function returns
// its source.
func (r *router) captureAdvertisement() func() string {
	r.site.Helper()
	var conn *icmp.PacketConn
	must(r.site.T, r.Do(func() (err error) { conn, err = icmp.ListenPacket("ip6:ipv6-icmp", "::"); return err }))
	r.site.Cleanup(func() { conn.Close() })
	return func() string {
		buf := make([]byte, 1500)
		must(r.site.T, conn.SetReadDeadline(time.Now().Add(limit)))
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return err.Error()
			}
			if ipv6.ICMPType(buf[0]) == ipv6.ICMPTypeRouterAdvertisement {
				addr, _ := netip.ParseAddr(from.String())
				return addr.WithZone("").String()
			}
		}
	}
}

const secretSpec = `
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]
  bgp:
    localASN: 64512
    peers: [{name: tor, address: "fd00:1::1", peerASN: 64500, passwordSecretRef: {name: bgp, key: tor}}]
`

// writePassword writes the peer's password with a mode.
func (s *site) writePassword(text string, mode os.FileMode) {
	s.Helper()
	file := s.path("passwords/bgp/tor")
	must(s.T, os.MkdirAll(filepath.Dir(file), 0o700))
	must(s.T, os.WriteFile(file, []byte(text), 0o600))
	must(s.T, os.Chmod(file, mode))
}

func TestPassword(t *testing.T) { bySpeaker(t, testPassword) }

func testPassword(t *testing.T, kind string) {
	const password = "x; } # ' \\ 7"
	s := newSite(t, kind, 1)
	s.writePassword(password+"\n", 0o644)
	s.configure(secretSpec)
	s.startBirdd("--password-dir", s.path("passwords"))
	s.startSpeaker()
	protected := strings.Replace(tor.IPv6, "ipv6 { import", `password "`+password+`"; ipv6 { import`, 1)
	s.routers[0].start(protected)
	// The password that everybody may read is not used, and the peer is not there without it.
	s.wantProblem("peer tor", "open to everybody")
	s.eventually("BIRD runs a configuration without the peer", func() error {
		text, err := os.ReadFile(s.path("bird.conf"))
		if err == nil && !strings.Contains(string(text), "protocol kernel") {
			err = errNotExpected
		}
		return err
	})
	if report := s.status(); report.Speaker.Error != "" || len(report.Sessions) > 0 {
		t.Errorf("without the password: %+v", report)
	}
	s.writePassword(password, 0o600)
	s.configure(secretSpec) // the event; without one the next look is within 30 s
	s.wantSessions(1)
	s.wantProblem("", "")
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	if log := s.birddLog() + s.speakerLog(); strings.Contains(log, password) {
		t.Errorf("the log shows the password:\n%s", log)
	}
	for _, file := range []string{"bird.conf", "birdd.json"} {
		if info, err := os.Stat(s.path(file)); err != nil || file == "bird.conf" && info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
}

func TestWrongPasswordHasNoSession(t *testing.T) { bySpeaker(t, testWrongPasswordHasNoSession) }

func testWrongPasswordHasNoSession(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	s.writePassword("wrong", 0o600)
	s.configure(secretSpec)
	s.startBirdd("--password-dir", s.path("passwords"))
	s.startSpeaker()
	s.routers[0].start(strings.Replace(tor.IPv6, "ipv6 { import", `password "right"; ipv6 { import`, 1))
	s.eventually("the peer has a protocol", func() error {
		if len(s.status().Sessions) != 1 {
			return errNotExpected
		}
		return nil
	})
	s.never(3*time.Second, "the session is up", func() bool { return s.established("tor") })
}

// never watches for a while that something does not happen.
func (s *site) never(while time.Duration, what string, happens func() bool) {
	s.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if happens() {
			s.Fatal(what)
		}
	}
}

// newPatientSite returns a site that is well, whose birdd undoes a NodeConfig that has had no session for so long.
func newPatientSite(t *testing.T, patience string) *site {
	t.Helper()
	s := newSite(t, onBIRD, 1)
	s.configure(spec6)
	s.startBirdd("--patience", patience)
	s.startSpeakers(tor.IPv6)
	s.wantSessions(1)
	s.wantProblem("", "")
	return s
}

// TestLostSessionsAreUndone: a NodeConfig that is valid and wrong.
func TestLostSessionsAreUndone(t *testing.T) {
	s := newPatientSite(t, "3s")
	before, err := os.ReadFile(s.path("bird.conf"))
	must(t, err)
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64501", 1))
	s.wantProblem("BIRD", "no session came up again within 3s")
	s.wantSessions(1)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	after, err := os.ReadFile(s.path("bird.conf"))
	if err != nil || string(after) != string(before) {
		t.Errorf("bird.conf is not what it was: %v\n%s", err, after)
	}
	reloads := s.reloads()
	s.never(4*time.Second, "it was tried again", func() bool { return s.reloads() > reloads })
	// What the operator writes next is tried at once.
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64500, med: 5", 1))
	s.wantProblem("", "")
	s.wantSessions(1)
}

// TestLossOutlivesRestarts: birdd is killed while a bad NodeConfig is on trial, and when it was undone, then BIRD with
// it, as an upgrade does. The node returns to what proved itself, and stays there.
func TestLossOutlivesRestarts(t *testing.T) {
	s := newPatientSite(t, "5s")
	before, err := os.ReadFile(s.path("bird.conf"))
	must(t, err)

	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64501", 1))
	s.eventually("the bad NodeConfig is on trial", func() error {
		if s.session("tor").ASN != 64501 {
			return errNotExpected
		}
		return nil
	})
	must(t, s.birdd.End(t.Context(), os.Kill))
	s.startBirdd("--patience", "5s")
	s.wantProblem("BIRD", "no session came up again within 5s")
	s.wantSessions(1)

	must(t, s.birdd.End(t.Context(), os.Kill))
	must(t, s.bird.End(t.Context(), os.Kill))
	s.startBirdd("--patience", "5s")
	s.startBird("-R")
	s.wantProblem("BIRD", "no session came up again within 5s")
	s.wantSessions(1)
	reloads := s.reloads()
	s.ip("addr add 198.51.100.1/24 dev up1") // which makes no other NodeConfig of it
	s.never(6*time.Second, "it was tried again", func() bool { return s.reloads() > reloads })
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	after, err := os.ReadFile(s.path("bird.conf"))
	if err != nil || string(after) != string(before) {
		t.Errorf("bird.conf is not what it was: %v\n%s", err, after)
	}
}

// TestCorrectionDoesNotWait: while a bad NodeConfig is on trial a good one follows.
func TestCorrectionDoesNotWait(t *testing.T) {
	s := newPatientSite(t, "60s")
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64501", 1))
	s.eventually("the session is down", func() error {
		if s.established("tor") {
			return errNotExpected
		}
		return nil
	})
	s.configure(strings.Replace(spec6, "peerASN: 64500", "peerASN: 64500, med: 5", 1))
	s.wantSessions(1)
	s.wantProblem("", "")
}

// TestSecondMistakeIsUndoneToo: what proved itself last is what to return to.
func TestSecondMistakeIsUndoneToo(t *testing.T) {
	s := newPatientSite(t, "3s")
	for _, wrong := range []string{"peerASN: 64501", "peerASN: 64502"} {
		s.configure(strings.Replace(spec6, "peerASN: 64500", wrong, 1))
		s.eventually("BIRD runs with "+wrong, func() error {
			if asn := s.session("tor").ASN; !strings.HasSuffix(wrong, fmt.Sprint(asn)) {
				return fmt.Errorf("it runs with %d", asn)
			}
			return nil
		})
	}
	s.wantProblem("BIRD", "no session came up again within 3s")
	s.wantSessions(1)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
}

// TestRemovingAllPeersIsNoLoss: who removes the peers means it.
func TestRemovingAllPeersIsNoLoss(t *testing.T) { bySpeaker(t, testRemovingAllPeersIsNoLoss) }

func testRemovingAllPeersIsNoLoss(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	s.configure(spec6)
	s.startBirdd("--patience", "1s")
	s.startSpeaker()
	s.routers[0].start(tor.IPv6)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	s.configure(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]`)
	s.wantRoutes(s.routers[0].Netns, "main")
	s.never(3*time.Second, "the peer is back", func() bool { return len(s.status().Sessions) > 0 })
	s.wantRoutes(s.node, "main", pool6Main)
	s.wantProblem("", "")
}

func TestHealth(t *testing.T) { bySpeaker(t, testHealth) }

func testHealth(t *testing.T, kind string) {
	s := newSite(t, kind, 1)
	s.configure("  mtu: 1\n")
	s.ip("link set lo up")
	s.startBirdd("--listen", "127.0.0.1:7273")
	get := func(path string, want int, text string) {
		t.Helper()
		s.eventually(fmt.Sprintf("%s answers %d", path, want), func() error {
			return s.node.Do(func() error { return getHealth(path, want, text) })
		})
	}
	get("/healthz", 200, "ok")
	get("/readyz", 503, "NodeConfig")
	s.configure(spec6)
	get("/readyz", 503, s.area())
	s.startSpeaker()
	get("/readyz", 200, "ok")
	if kind == onBIRD {
		get("/metrics", 200, "\nflock_birdd_bird_up 1\n")
	} else {
		get("/metrics", 200, `flock_birdd_extension_up{extension="speaker-gobgp"} 1`)
		get("/metrics", 200, `flock_birdd_extension_call_duration_seconds_count{call="Configure",extension="speaker-gobgp",result="OK"}`)
	}
	get("/metrics", 200, "\nflock_birdd_config_valid 1\n")
	get("/metrics", 200, "\nprocess_resident_memory_bytes ")
}

// getHealth asks from inside the namespace: the connection is made on the calling thread.
func getHealth(path string, want int, text string) error {
	conn, err := net.Dial("tcp", "127.0.0.1:7273")
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != want || !strings.Contains(string(body), text)) {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}
