// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// hide puts an attachment into the store whose network namespace cannot be seen from here, finished or not, with a claim
// of flock-route over the link if there is one.
func hide(id, addr string, state store.State, link string) step {
	return do(func(w *world) {
		w.update(func(tx *store.Tx) error {
			a, netns, pod, addrs := attachment(id), "/absent/netns/"+id, cni.Pod{UID: id}, []netip.Addr{netip.MustParseAddr(addr)}
			err := tx.Put(store.Allocation{Attachment: a, State: state, Pod: pod, Netns: netns, Addresses: addrs})
			if link != "" {
				c := claim.Claim{Pod: pod, Netns: netns, Link: link, LinkIndex: 5, Unicast: addrs}
				err = errors.Join(err, claim.Book{Tx: tx, Stage: "flock-route"}.Put(a, c))
			}
			return err
		})
	})
}

// release is the DEL of flock-ipam alone.
func release(id string) step {
	return do(func(w *world) { w.update(func(tx *store.Tx) error { return tx.Release(attachment(id), 3) }) })
}

var link = rtnl.HostName("a", "eth0")

var unseenRounds = []struct {
	name  string
	steps []step
	want  string
	told  string // what is reported after the last round, nothing if empty
}{
	{"its pod is there", []step{hide("a", "10.0.0.1", store.Committed, link), round(), round()},
		"a claimed by flock-route\na has [10.0.0.1]", "flock/a/eth0"},
	{"gone, once", []step{hide("a", "10.0.0.1", store.Committed, link), gone("a"), round()},
		"a claimed by flock-route\na has [10.0.0.1]", ""},
	{"gone, and its link too", []step{hide("a", "10.0.0.1", store.Committed, link), gone("a"), round(), round(), round(), round()},
		"10.0.0.1 cools since 7", ""},
	{"gone, link there", []step{hide("a", "10.0.0.1", store.Committed, link), gone("a"),
		do(func(w *world) { w.routes.Linked[attachment("a")] = true }), round(), round()},
		"a claimed by flock-route\na has [10.0.0.1]", "flock/a/eth0"},
	{"gone, routed", []step{hide("a", "10.0.0.1", store.Committed, link), gone("a"),
		do(func(w *world) { w.hosts[netip.MustParseAddr("10.0.0.1")] = true }), round(), round()},
		"a claimed by flock-route\na has [10.0.0.1]", "flock/a/eth0"},
	{"gone, with another plugin's link", []step{hide("a", "10.0.0.1", store.Committed, "cbr0"), gone("a"), round(), round()},
		"a claimed by flock-route\na has [10.0.0.1]", "flock/a/eth0"},
	{"gone, delegated", []step{hide("a", "10.0.0.1", store.Committed, ""), gone("a"), round(), round()},
		"a has [10.0.0.1]", "flock/a/eth0"},
	{"gone, never finished", []step{hide("a", "10.0.0.1", store.Pending, ""), gone("a"), round(), round(), round()},
		"10.0.0.1 cools since 7", ""},
	{"beside a dead one", []step{hide("a", "10.0.0.1", store.Committed, ""), put("b", "10.0.0.2"), round(), round()},
		"10.0.0.2 cools since 7\na has [10.0.0.1]", "there is no /absent/netns here"},
	{"claim alone", []step{hide("a", "10.0.0.1", store.Committed, link), release("a"), round(), round()},
		"10.0.0.1 cools since 3\na claimed by flock-route", "flock/a/eth0"},
	{"claim alone, gone", []step{hide("a", "10.0.0.1", store.Committed, link), release("a"), gone("a"), round(), round()},
		"10.0.0.1 cools since 3", ""},
}

// TestUnseen: who cannot be seen is told of apart, and has what it has until its pod is gone and the link with which it
// used it.
func TestUnseen(t *testing.T) {
	for _, test := range unseenRounds {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.Witnesses = append(w.Witnesses, Netns)
			told := ""
			for _, s := range test.steps {
				if s.do != nil {
					s.do(w)
					continue
				}
				done, err := w.Round(t.Context())
				if err != nil {
					t.Error(err)
				}
				if told = ""; done.Unseen != nil {
					told = done.Unseen.Error()
				}
			}
			if diff := cmp.Diff(test.want, w.String()); diff != "" {
				t.Errorf("store (-want +got):\n%s", diff)
			}
			if (told == "") != (test.told == "") || !strings.Contains(told, test.told) {
				t.Errorf("told %q, want %q", told, test.told)
			}
		})
	}
}

// TestManyUnseen: some are named, the same each time.
func TestManyUnseen(t *testing.T) {
	w := newWorld(t)
	w.Witnesses = append(w.Witnesses, Netns)
	for i := range 20 {
		hide(fmt.Sprintf("c%02d", i), fmt.Sprint("10.0.0.", i), store.Committed, "").do(w)
	}
	for range 5 {
		done, err := w.Round(t.Context())
		if err != nil || done.Unseen == nil {
			t.Fatal(done, err)
		}
		for _, text := range []string{"flock/c00/eth0", "flock/c02/eth0", "and 17 more"} {
			if got := done.Unseen.Error(); !strings.Contains(got, text) || strings.Contains(got, "c03") {
				t.Errorf("%s\nwithout %s", got, text)
			}
		}
	}
}
