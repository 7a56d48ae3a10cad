// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/health"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/tor"
)

func TestClusterNodeConfig(t *testing.T) { bySpeaker(t, testClusterNodeConfig) }

func testClusterNodeConfig(t *testing.T, kind string) {
	s := newSite(t, kind, 2).join(apiserver.New(t))
	s.startBirdd()
	s.startSpeaker()
	s.wantProblem("NodeConfig", "there is none of that name")
	if text, err := os.ReadFile(s.path("bird.conf")); err != nil || !strings.Contains(string(text), "BIRD starts with") {
		t.Errorf("bird.conf is not the bootstrap's: %v\n%s", err, text)
	}

	s.configure(spec6)
	s.sayPoolsReady()
	s.routers[0].start(tor.IPv6)
	s.routers[1].start(tor.IPv6)
	r := s.routers[0]
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantCondition("Established", "True", "AllEstablished", "1 of 1 peers")
	s.wantCondition("Announced", "True", "SummariesAnnounced", "1 of 1 pools")
	s.wantCondition("Ready", "True", "EverythingTrue", "")
	s.wantNetwork("False", "FlockAnnounces")
	status := s.nodeConfig().Status
	if p := status.Peers; len(p) != 1 || p[0].Name != "tor" || p[0].State != "Established" || p[0].PrefixesReceived != 1 || p[0].PrefixesExported != 1 ||
		p[0].Since == nil || status.Sessions != "1/1" {
		t.Errorf("status is %+v", status)
	}

	since := s.session("tor").Since
	deleted := s.watchDeletes(r.Netns)
	more := strings.NewReplacer("pools: [", `pools: [{name: more, cidr: "2001:db8:2::/64"}, `,
		"peers: [", `peers: [{name: tor-b, address: "fd00:2::1", peerASN: 64500}, `).Replace(spec6)
	s.configure(more)
	s.wantRoutes(r.Netns, "main", pool6AtRouter, "2001:db8:2::/64 via fd00:1::2 dev node proto bird metric 32")
	s.wantCondition("Established", "True", "AllEstablished", "2 of 2 peers")
	s.wantCondition("Announced", "True", "SummariesAnnounced", "2 of 2 pools")
	s.configure(spec6)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantCondition("Established", "True", "AllEstablished", "1 of 1 peers")
	if got := deleted(); !slices.Equal(got, []string{"2001:db8:2::/64"}) {
		t.Errorf("the router lost %v", got)
	}
	s.wantUpSince("tor", since)
	s.keepsThroughBadNodeConfigs(r)
}

// keepsThroughBadNodeConfigs has the NodeConfig invalid, deleted and made again: nothing is withdrawn.
func (s *clusterSite) keepsThroughBadNodeConfigs(r *router) {
	s.Helper()
	before, err := os.ReadFile(s.path("bird.conf"))
	must(s.T, err)
	deleted := s.watchDeletes(r.Netns)
	s.letAnythingIn()
	s.configure(strings.Replace(spec6, "peerASN: 64500", `peerASN: 64500, communities: ["70000:1"]`, 1))
	s.wantCondition("Announced", "False", "InvalidNodeConfig", "spec.bgp.peers[0].communities[0]")
	s.wantCondition("Established", "True", "AllEstablished", "")
	s.wantCondition("Ready", "False", "InvalidNodeConfig", "Announced: ")
	s.wantProblem("NodeConfig", "birdd keeps to the one before")
	s.wantNetwork("False", "FlockAnnounces")

	s.api.Kubectl(s.T, "delete", "nodeconfig", s.name)
	s.wantProblem("NodeConfig", "there is none of that name; birdd keeps to the one before")
	s.wantRoutes(s.node, "7273", pool6Announce)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	after, err := os.ReadFile(s.path("bird.conf"))
	must(s.T, err)
	if lost := deleted(); string(before) != string(after) || len(lost) > 0 {
		s.Errorf("something changed: the router lost %v, bird.conf (-before +after):\n%s", lost, cmp.Diff(string(before), string(after)))
	}

	s.configure(strings.Replace(spec6, "2001:db8:1::", "2001:db8:3::", 1))
	s.wantRoutes(r.Netns, "main", "2001:db8:3::/64 via fd00:1::2 dev node proto bird metric 32")
	s.wantCondition("Announced", "True", "SummariesAnnounced", "")
	s.wantProblem("", "")
}

// secret makes or changes the Secret that secretSpec names.
func (s *clusterSite) secret(password string) {
	s.Helper()
	text, err := json.Marshal(password)
	must(s.T, err)
	s.api.Apply(s.T, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\nstringData: {tor: %s}\n", s.name, secretSpace, text))
}

// withPassword is tor.IPv6 with a password.
func withPassword(password string) string {
	return strings.Replace(tor.IPv6, "ipv6 { import", `password "`+password+`"; ipv6 { import`, 1)
}

func TestClusterSecrets(t *testing.T) { bySpeaker(t, testClusterSecrets) }

func testClusterSecrets(t *testing.T, kind string) {
	s := newSite(t, kind, 1).join(apiserver.New(t))
	const first, second = "hunter; } # 1", "hunter2"
	spec := strings.Replace(secretSpec, "{name: bgp,", "{name: "+s.name+",", 1)
	s.start(spec, withPassword(first))
	s.wantProblem("peer tor", "there is no such Secret")
	s.wantCondition("Established", "False", "PeersDown", "tor is Absent: left out: read key tor of Secret flock-system/"+s.name+": there is no such Secret")
	s.wantNetwork("True", "FlockDoesNotAnnounce")

	s.secret(first)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	s.wantCondition("Established", "True", "AllEstablished", "")
	s.wantNetwork("False", "FlockAnnounces")
	s.wantWatches("nodeconfigs", "pods", "secrets")

	s.keepsSessionUnread()

	// Rotated on both sides: the session comes back with the new one.
	must(t, s.routers[0].Bird.End(t.Context(), os.Kill))
	s.routers[0].start(withPassword(second))
	s.secret(second)
	s.wantSessions(1)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)

	s.secret("hunter\"2")
	s.wantProblem("peer tor", "it has at byte 7 what BIRD cannot hold")
	s.secret(second)
	s.wantSessions(1)

	s.api.Kubectl(t, "delete", "-n", secretSpace, "secret", s.name)
	s.wantProblem("peer tor", "there is no such Secret")
	s.wantCondition("Established", "False", "PeersDown", "there is no such Secret")
	s.wantNowhere("hunter")
}

// keepsSessionUnread has birdd start again while it may not read the Secret: the session that runs with it stays.
func (s *clusterSite) keepsSessionUnread() {
	s.Helper()
	since := s.session("tor").Since
	s.api.Kubectl(s.T, "delete", "rolebinding", "-n", secretSpace, "flock")
	must(s.T, s.birdd.End(s.Context(), os.Kill))
	s.startBirdd()
	s.wantProblem(s.area(), "wait for peer tor: read key tor of Secret flock-system/"+s.name+": cannot be read yet: ")
	s.api.Kubectl(s.T, "apply", "--server-side", "-f", "../../deploy/base/rbac.yaml")
	s.wantProblem("", "")
	s.wantUpSince("tor", since)
}

// wantNowhere looks for a secret where everybody may read.
func (s *clusterSite) wantNowhere(secret string) {
	s.Helper()
	status, err := os.ReadFile(s.path("birdd.json"))
	must(s.T, err)
	for place, text := range map[string]string{
		"log": s.birddLog(), "speaker's log": s.speakerLog(), "problems": string(status), "status": s.api.Kubectl(s.T, "get", "nodeconfig", s.name, "-o", "yaml"),
		"events": s.api.Kubectl(s.T, "get", "events", "-A", "-o", "yaml"),
	} {
		if strings.Contains(text, secret) {
			s.Errorf("the %s shows a password:\n%s", place, text)
		}
	}
	if info, err := os.Stat(s.path("bird.conf")); err != nil || info.Mode().Perm() != 0o640 {
		s.Errorf("bird.conf: %v, %v", info, err)
	}
}

func TestClusterNode(t *testing.T) { bySpeaker(t, testClusterNode) }

func testClusterNode(t *testing.T, kind string) {
	s := newClusterSite(t, kind, 1)
	s.configure(spec6)
	s.startBirdd("--unavailable-after", "6s")
	s.wantNetwork("True", "FlockDoesNotAnnounce") // a new node that does not announce
	s.startSpeaker()
	r := s.routers[0]
	r.start(tor.IPv6)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantNetwork("False", "FlockAnnounces")
	s.sayPoolsReady()

	// A speaker that starts again is none of the Node's business.
	s.restartSpeaker()
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantSessions(1)
	if writes := s.nodeWrites(); writes != 2 {
		t.Errorf("the Node's status was written %d times, want 2", writes)
	}

	must(t, r.Bird.End(t.Context(), os.Kill))
	s.wantNetwork("True", "FlockDoesNotAnnounce")
	r.start(tor.IPv6)
	s.wantNetwork("False", "FlockAnnounces")

	// A pod that comes to a Node which was made anew finds the condition.
	s.api.Kubectl(t, "delete", "node", s.name)
	s.api.MakeNode(t, s.name)
	s.api.MakePod(t, s.api.Namespace(t), "new", s.name, nil)
	s.wantNetwork("False", "FlockAnnounces")
	s.wantProblem("", "")

	// Without BGP nothing has to be announced, and ipamd says how the node is.
	s.configure(`
  pools: [{name: default6, cidr: "2001:db8:1::/64"}]`)
	s.eventually("birdd's part of the status is gone", func() error {
		if status := s.nodeConfig().Status; len(status.Conditions) != 1 || len(status.Peers) > 0 {
			return fmt.Errorf("%+v", status)
		}
		return nil
	})
	s.wantNetwork("False", "FlockAnnounces")
}

// nodeWrites counts how often birdd has written the Node's status.
func (s *clusterSite) nodeWrites() int {
	s.Helper()
	writes := slices.DeleteFunc(s.api.Requests(s.T, "flock-birdd/"+s.name), func(r apiserver.Request) bool {
		return r.Object.Resource != "nodes" || r.Verb != "patch"
	})
	return len(writes)
}

// TestClusterServerIsAway has birdd start while the API server is away, and the server come back with its
// history gone.
func TestClusterServerIsAway(t *testing.T) {
	s := newSite(t, onBIRD, 1).join(apiserver.New(t))
	s.start(spec6, tor.IPv6)
	r := s.routers[0]
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.ip("-6 route add 2001:db8:f::7 dev pod table 7273 proto 73 metric 20")
	all := []string{pool6AtRouter, "2001:db8:f::7 via fd00:1::2 dev node proto bird metric 32"}
	s.wantRoutes(r.Netns, "main", all...)
	deleted := s.watchDeletes(r.Netns)
	s.wantNetwork("False", "FlockAnnounces")
	s.eventually("nothing is left to write", func() error {
		if peers := s.nodeConfig().Status.Peers; len(peers) != 1 || peers[0].PrefixesExported != 2 {
			return fmt.Errorf("peers are %+v", peers)
		}
		return nil
	})

	s.api.Stop()
	s.wantProblem("API server", "")
	must(t, s.birdd.End(t.Context(), os.Kill))
	s.startBirdd()
	s.eventually("birdd knows that it is alone", func() error {
		report := s.status()
		if len(report.Problems) != 1 || report.Problems[0].Area != "API server" {
			return fmt.Errorf("problems %+v", report.Problems)
		}
		if len(report.Sessions) != 1 || len(report.Summaries) != 1 || len(report.Addresses) != 1 {
			return fmt.Errorf("status without the API server: %+v", report)
		}
		return nil
	})
	s.api.Compact(t)
	s.api.Resume(t)
	s.wantProblem("", "")
	s.wantRoutes(r.Netns, "main", all...)
	if lost := deleted(); len(lost) > 0 {
		t.Errorf("the router lost %v", lost)
	}

	s.api.Compact(t) // the watches expire while birdd runs
	s.configure(strings.Replace(spec6, "pools: [", `pools: [{name: more, cidr: "2001:db8:2::/64"}, `, 1))
	s.wantRoutes(r.Netns, "main", append(all, "2001:db8:2::/64 via fd00:1::2 dev node proto bird metric 32")...)
	s.wantCondition("Announced", "True", "SummariesAnnounced", "2 of 2 pools")
}

// TestClusterRefusals: birdd may not read what it needs, and says so, and goes on when it may.
func TestClusterRefusals(t *testing.T) {
	s := newClusterSite(t, onBIRD, 1)
	user := "nobody-" + s.name
	s.kubeconfig = s.api.User(t, user)
	s.configure(spec6)
	s.startBirdd()
	s.eventually("birdd says what it may not", func() error {
		for _, area := range []string{"watch of NodeConfigs", "watch of pods"} {
			is := func(p health.Problem) bool { return p.Area == area && strings.Contains(p.Text, "forbidden") }
			if problems := s.status().Problems; !slices.ContainsFunc(problems, is) {
				return fmt.Errorf("no %q in %+v", area, problems)
			}
		}
		return nil
	})
	s.api.Kubectl(t, "create", "clusterrolebinding", s.name, "--clusterrole=cluster-admin", "--user="+user)
	s.startSpeakers(tor.IPv6)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	s.wantProblem("", "")
}

func TestClusterSIGTERM(t *testing.T) {
	s := newClusterSite(t, onBIRD, 1)
	s.start(spec6, tor.IPv6)
	r := s.routers[0]
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	deleted := s.watchDeletes(r.Netns)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	must(t, s.birdd.End(ctx, unix.SIGTERM))
	s.startBirdd()
	s.wantProblem("", "")
	if lost := deleted(); len(lost) > 0 {
		t.Errorf("the router lost %v", lost)
	}
}

// TestClusterCosts has 500 pods on the node.
func TestClusterCosts(t *testing.T) {
	const pods, limit = 500, 40 << 10 // KiB
	s := newClusterSite(t, onBIRD, 1)
	bin, err := build.Flock(t.Context())
	must(t, err)
	s.program = filepath.Join(bin, "birdd")
	namespace := s.api.Namespace(t)
	for i := range pods {
		s.api.MakePod(t, namespace, fmt.Sprintf("pod-%d", i), s.name, map[string]string{
			"flock.fritzlab.net/anycast": fmt.Sprintf("2001:db8:a::%x", i), "example.com/other": strings.Repeat("x", 2000)})
	}
	s.start(spec6, tor.IPv6)
	s.wantRoutes(s.routers[0].Netns, "main", pool6AtRouter)
	s.wantCondition("Announced", "True", "SummariesAnnounced", "")
	s.wantWatches("nodeconfigs", "pods")
	s.eventually("birdd has asked the API server nothing for 11 s", func() error {
		requests := s.api.Requests(t, "flock-birdd/"+s.name)
		if last := requests[len(requests)-1]; time.Since(last.Done) < 11*time.Second {
			return errors.New(last.String())
		}
		return nil
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.birdd.PID()))
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	peak, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil || peak > limit {
		t.Errorf("birdd's resident memory was up to %d KiB (%v), want at most %d", peak, err, limit)
	}
	t.Logf("birdd's resident memory was up to %d KiB", peak)
}
