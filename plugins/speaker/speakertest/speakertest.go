// SPDX-License-Identifier: Apache-2.0

// Package speakertest holds any BGP speaker to the contract of package speaker.
//
//	func TestConformance(t *testing.T) {
//		speakertest.Run(t, speakertest.Options{Start: speakertest.Program("/usr/libexec/flock/speaker-example")})
//	}
//
// Each rule is a subtest of its own: a node and its routers, which run BIRD, in network namespaces. It takes root and the
// programs ip and bird. A failure quotes the rule; [Rules] lists them.
package speakertest

import (
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/lab"
)

// Options say what is tested. Start is all that a speaker needs that goes by any config.
type Options struct {
	// Start starts the speaker on the node, and returns it with what ends it at once, as a crash does, and may be called
	// again. The folder is the node's: what a speaker leaves there it finds when it is started again. [Program] starts
	// a program.
	Start func(node *lab.Netns, folder string) (s speaker.Speaker, kill func(), err error)
	// Refused makes of a config one that the speaker refuses, because of the field that it returns. nil: it refuses none.
	Refused func(*speaker.Config) (field string)
	// Except names rules that the speaker does not claim to keep, each with the reason.
	Except map[string]string
	// Timeout is how long anything may take to come about; 30 seconds unless set.
	Timeout time.Duration
}

// Run checks every rule, each as a subtest under the rule's name, several at a time.
func Run(t *testing.T, o Options) {
	t.Helper()
	for _, r := range rules {
		if why, excepted := o.Except[r.Name]; excepted {
			t.Logf("%s: not claimed: %s", r.Name, why)
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel() // most of each is waiting for timers
			r.play(t, o)
		})
	}
}

// Rule is one thing that a speaker must do.
type Rule struct {
	// Name is the subtest's name, Says the rule in a sentence.
	Name, Says string

	routers int
	check   func(*world)
}

// Rules returns the rules that Run checks, in its order.
func Rules() []Rule { return rules }

// reporter is told of a failure; Fatalf does not return.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (r Rule) play(t reporter, o Options) {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	w := &world{reporter: t, Options: o, says: r.Says}
	defer w.close()
	w.build(r.routers)
	r.check(w)
}

var rules = []Rule{
	{"sessions", "a configured peer has a session in its family, and Status tells of it", 1, sessions},
	{"announces", "the routes of the announcement table are announced as they come, and withdrawn as they go", 1, announces},
	{"dead-link", "an address is withdrawn when the kernel takes its route with its link", 1, deadLink},
	{"export-list", "nothing is announced but the summaries, and single addresses inside ExportAccept", 1, exportList},
	{"own-only", "what one peer brought is announced to none, and is not put into the announcement table", 2, ownOnly},
	{"next-hop-self", "the next hop of what is announced is the node's end of the session", 1, nextHopSelf},
	{"imports", "what is taken is inside ImportAccept and goes into the main table, with a metric above 16", 1, imports},
	{"own-links", "a prefix that holds an address of the node's links or of a peer on them is never taken, the default route apart", 1, ownLinks},
	{"max-prefixes", "what exceeds MaxPrefixes is ignored, and the session stays up", 1, maxPrefixes},
	{"ecmp", "equal paths of several peers are one route with several next hops", 2, ecmp},
	{"peer-dies", "what a peer brought that does not restart gracefully goes with its session", 2, peerDies},
	{"reflected", "an address that the node announces is not taken from a peer in its place", 2, reflected},
	{"md5", "a session with the peer's password comes up", 1, md5},
	{"md5-wrong", "a session with another password does not", 1, md5Wrong},
	{"ipv4-over-ipv6", "an IPv6 session carries IPv4 with IPv6 next hops, both ways", 1, ipv4OverIPv6},
	{"ipv4-link-local", "a peer in 169.254.0.0/16 is one on a link like any other, and needs no Interface", 1, ipv4LinkLocal},
	{"unnumbered", "an unnumbered peer is whoever opens a session from the link, and finds the node by router advertisements", 1, unnumbered},
	{"multihop", "a peer that is not on a link is reached by the kernel's routes, and so are its next hops", 1, multihop},
	{"attributes", "communities, large communities, local preference and MED are on what is announced", 1, attributes},
	{"same-config", "the same config again changes nothing", 1, sameConfig},
	{"other-peer", "a peer that comes or goes does not touch the others' sessions", 2, otherPeer},
	{"filters-live", "a change of what is announced and taken takes effect without a change of peers", 1, filtersLive},
	{"no-peers", "a config without peers ends all sessions and takes away what they brought", 1, noPeers},
	{"refused", "a config that is refused is a RefusedError that names the field, and changes nothing", 1, refused},
	{"stop-graceful", "after StopGraceful and another start no route is lost, neither here nor at the router", 1, stopGraceful},
	{"killed", "after a kill and another start no route is lost, neither here nor at the router", 1, killed},
	{"stale", "a route that the peer withdrew while no speaker ran goes once the peer has spoken", 1, stale},
	{"stop-now", "StopNow withdraws everything and removes what was installed", 1, stopNow},
	{"status", "Status tells of each session as it is, and of a prefix only where it was sent", 2, status},
}
