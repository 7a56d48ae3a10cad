// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// world is a node whose attachments live and die as the test says.
type world struct {
	Reconciler
	t      *testing.T
	alive  map[string]bool // container IDs
	blind  error           // of the witness
	torn   error           // of the routes
	routes Routes
	gone   map[string]bool     // pods by their UIDs, which are the container IDs
	hosts  map[netip.Addr]bool // that somebody else routes
	log    strings.Builder
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, alive: map[string]bool{}, gone: map[string]bool{}, hosts: map[netip.Addr]bool{}}
	w.routes = w.noRoutes()
	w.Reconciler = Reconciler{
		Store: store.Store{Dir: t.TempDir(), Warn: func(text string) { t.Error(text) }},
		Witnesses: []Witness{
			func(context.Context) (Sighting, error) { return w.see, w.blind },
			func(context.Context) (Sighting, error) {
				return func(store.Allocation) (bool, error) { return false, nil }, nil
			},
		},
		Routes:    func() (Routes, error) { return w.routes, w.torn },
		Pools:     func() ([]pool.Pool, error) { return pool.Parse([]pool.Spec{{CIDR: "10.0.0.0/24"}}) },
		Gone:      func(pod cni.Pod) bool { return w.gone[pod.UID] },
		Stages:    []string{"flock-route", "flock-bird"},
		SinceBoot: func() time.Duration { return 7 },
		Log:       slog.New(slog.NewTextHandler(io.MultiWriter(&w.log), nil)),
	}
	return w
}

func (w *world) noRoutes() Routes {
	host := func(addr netip.Addr) (bool, error) { return w.hosts[addr], nil }
	return Routes{Leads: map[netip.Addr][]int{}, Linked: map[cni.Attachment]bool{}, Host: host}
}

var errNobodyKnows = errors.New("nobody knows")

func (w *world) see(alloc store.Allocation) (bool, error) {
	if alloc.Netns == "unknown" {
		return false, errNobodyKnows
	}
	return w.alive[alloc.Attachment.ContainerID], nil
}

func attachment(id string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: id, IfName: "eth0"}
}

func (w *world) update(fn func(*store.Tx) error) {
	w.t.Helper()
	if err := w.Store.Update(fn); err != nil {
		w.t.Fatal(err)
	}
}

// put allocates an address, with the note that flock-ipam makes.
func (w *world) put(id, addr string) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		alloc := store.Allocation{Attachment: attachment(id), State: store.Pending, Pod: cni.Pod{UID: id}, Netns: "/run/netns/" + id, Addresses: []netip.Addr{netip.MustParseAddr(addr)}}
		return errors.Join(tx.Put(alloc), tx.SetNote(config.Name, alloc.Attachment, []string{"10.0.0.0/24"}))
	})
}

// claim notes a stage's claim over link 5.
func (w *world) claim(stage, id, addr string) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		c := claim.Claim{Netns: "/run/netns/" + id, Link: "cbr0", LinkIndex: 5, Unicast: []netip.Addr{netip.MustParseAddr(addr)}}
		return claim.Book{Tx: tx, Stage: stage}.Put(attachment(id), c)
	})
}

// String returns what the store holds, a line each.
func (w *world) String() string {
	var lines []string
	err := w.Store.View(func(tx *store.Tx) error {
		err := tx.All(func(a store.Allocation) error {
			lines = append(lines, fmt.Sprint(a.Attachment.ContainerID, " has ", a.Addresses))
			return nil
		})
		for _, stage := range w.Stages {
			err = errors.Join(err, claim.Book{Tx: tx, Stage: stage}.All(func(a cni.Attachment, c claim.Claim) error {
				lines = append(lines, fmt.Sprint(a.ContainerID, " claimed by ", stage))
				return nil
			}))
		}
		return errors.Join(err, store.Notes(tx, config.Name, func(a cni.Attachment, _ any) error {
			lines = append(lines, a.ContainerID+" noted")
			return nil
		}), tx.Released(func(a netip.Addr, at time.Duration) bool {
			lines = append(lines, fmt.Sprint(a, " cools since ", int64(at)))
			return true
		}))
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// step is something that happens between two rounds, or a round: then its error is wanted.
type step struct {
	do  func(*world)
	err string
}

func do(fn func(*world)) step { return step{do: fn} }

func round(err ...string) step { return step{err: strings.Join(err, "")} }

func live(id string) step { return do(func(w *world) { w.alive[id] = true }) }
func die(id string) step  { return do(func(w *world) { w.alive[id] = false }) }
func gone(id string) step { return do(func(w *world) { w.gone[id] = true }) }
func commit(id string) step {
	return do(func(w *world) {
		w.update(func(tx *store.Tx) error { return tx.Commit(attachment(id), time.Unix(9, 0)) })
	})
}
func put(id, addr string) step {
	return do(func(w *world) { w.put(id, addr) })
}
func claims(stage, id, addr string) step {
	return do(func(w *world) { w.claim(stage, id, addr) })
}

// route leads an address to link 5, or with an ID to the attachment's link.
func route(addr string, ids ...string) step {
	return do(func(w *world) {
		a := netip.MustParseAddr(addr)
		w.routes.Leads[a] = append(w.routes.Leads[a], 5)
		for _, id := range ids {
			w.routes.Attached = append(w.routes.Attached, store.Allocation{Attachment: attachment(id), Addresses: []netip.Addr{a}})
		}
	})
}

var noRoutes = do(func(w *world) { w.routes = w.noRoutes() })

var (
	blind  = do(func(w *world) { w.blind = errNobodyKnows })
	seeing = do(func(w *world) { w.blind = nil })
)

var rounds = []struct {
	name  string
	steps []step
	want  string
}{
	{"empty store", []step{round(), round()}, ""},
	{"alive", []step{put("a", "10.0.0.1"), live("a"), round(), round(), round()}, "a has [10.0.0.1]\na noted"},
	{"dead once", []step{put("a", "10.0.0.1"), round()}, "a has [10.0.0.1]\na noted"},
	{"dead twice", []step{put("a", "10.0.0.1"), round(), round()}, "10.0.0.1 cools since 7"},
	{"dead, alive, dead", []step{put("a", "10.0.0.1"), round(), live("a"), round(), die("a"), round()}, "a has [10.0.0.1]\na noted"},
	{"one of two", []step{put("a", "10.0.0.1"), put("b", "10.0.0.2"), live("b"), round(), round()}, "10.0.0.1 cools since 7\nb has [10.0.0.2]\nb noted"},
	{"a witness is blind", []step{put("a", "10.0.0.1"), blind, round("nobody knows"), round("nobody knows"), seeing, round()}, "a has [10.0.0.1]\na noted"},
	{"blind in between", []step{put("a", "10.0.0.1"), round(), blind, round("nobody knows"), seeing, round()}, "10.0.0.1 cools since 7"},
	{"routes unreadable", []step{put("a", "10.0.0.1"), round(), do(func(w *world) { w.torn = errNobodyKnows }), round("nobody knows"), round("nobody knows")},
		"a has [10.0.0.1]\na noted"},
	{"another life of the same names", []step{put("a", "10.0.0.1"), round(), do(func(w *world) {
		w.update(func(tx *store.Tx) error { return tx.Release(attachment("a"), 3) })
	}), do(func(w *world) {
		w.update(func(tx *store.Tx) error {
			return tx.Put(store.Allocation{Attachment: attachment("a"), Netns: "/run/netns/second", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
		})
	}), round()}, "a has [10.0.0.1]\na noted"},
	{"unknown, beside a dead one", []step{put("a", "10.0.0.1"), do(func(w *world) {
		w.update(func(tx *store.Tx) error {
			return tx.Put(store.Allocation{Attachment: attachment("u"), Netns: "unknown", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.9")}})
		})
	}), round("nobody knows"), round("nobody knows")}, "10.0.0.1 cools since 7\nu has [10.0.0.9]"},

	{"pod gone, once", []step{put("a", "10.0.0.1"), live("a"), gone("a"), round()}, "a has [10.0.0.1]\na noted"},
	{"pod gone", []step{put("a", "10.0.0.1"), live("a"), gone("a"), round(), round()}, "10.0.0.1 cools since 7"},
	{"pod gone, of a finished one", []step{put("a", "10.0.0.1"), live("a"), gone("a"), commit("a"), round(), round()}, "a has [10.0.0.1]\na noted"},
	{"pod gone, finished late", []step{put("a", "10.0.0.1"), live("a"), gone("a"), round(), commit("a"), round(), round()}, "a has [10.0.0.1]\na noted"},
	{"pod gone, link there", []step{put("a", "10.0.0.1"), live("a"), gone("a"), do(func(w *world) { w.routes.Linked[attachment("a")] = true }), round(), round()},
		"a has [10.0.0.1]\na noted"},
	{"pod gone, routed by another", []step{put("a", "10.0.0.1"), live("a"), gone("a"), do(func(w *world) { w.hosts[netip.MustParseAddr("10.0.0.1")] = true }), round(), round()},
		"a has [10.0.0.1]\na noted"},
	{"pod gone, claimed", []step{put("a", "10.0.0.1"), live("a"), gone("a"), claims("flock-route", "a", "10.0.0.1"), round(), round()},
		"a claimed by flock-route\na has [10.0.0.1]\na noted"},
	{"pod gone, and dead in between", []step{put("a", "10.0.0.1"), live("a"), gone("a"), round(), die("a"), round()}, "a has [10.0.0.1]\na noted"},

	{"note without allocation", []step{do(func(w *world) {
		w.update(func(tx *store.Tx) error { return tx.SetNote(config.Name, attachment("a"), []string{}) })
	}), round(), round()}, ""},
	{"claim of the living without allocation", []step{claims("flock-route", "a", "10.0.0.1"), live("a"), round(), round()}, "a claimed by flock-route"},
	{"claims of the dead", []step{claims("flock-route", "a", "10.0.0.1"), claims("flock-bird", "a", "10.0.0.1"), round(), round()}, ""},
	{"claim of the dead, seen once", []step{claims("flock-route", "a", "10.0.0.1"), round()}, "a claimed by flock-route"},
	{"claims and allocation of the dead", []step{put("a", "10.0.0.1"), claims("flock-route", "a", "10.0.0.1"), round(), round(), round(), round()},
		"10.0.0.1 cools since 7"},
	{"claim whose route is left", []step{claims("flock-route", "a", "10.0.0.1"), route("10.0.0.1"), round(), round(), round()}, "a claimed by flock-route"},
	{"claim whose route went later", []step{claims("flock-route", "a", "10.0.0.1"), route("10.0.0.1"), round(), round(), noRoutes, round()}, ""},
	{"claim whose route is another's now", []step{claims("flock-route", "a", "10.0.0.1"), claims("flock-route", "b", "10.0.0.1"), live("b"), route("10.0.0.1"), round(), round()},
		"b claimed by flock-route"},

	{"in use and not allocated, seen once", []step{route("10.0.0.1", "a"), live("a"), round()}, ""},
	{"in use and not allocated", []step{route("10.0.0.1", "a"), live("a"), round(), round(), round()}, "a has [10.0.0.1]"},
	{"in use beside what is allocated", []step{put("a", "10.0.0.1"), route("10.0.0.1", "a"), route("10.0.0.2", "a"), live("a"), round(), round()},
		"a has [10.0.0.1 10.0.0.2]\na noted"},
	{"in use, of no pool", []step{route("10.0.1.1", "a"), live("a"), round(), round()}, ""},
	{"in use and another's", []step{put("b", "10.0.0.1"), live("b"), route("10.0.0.1", "a"), live("a"), round(), round("belongs to attachment flock/b/eth0")},
		"b has [10.0.0.1]\nb noted"},
}

func TestRounds(t *testing.T) {
	for _, test := range rounds {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			for i, s := range test.steps {
				if s.do != nil {
					s.do(w)
					continue
				}
				_, err := w.Round(t.Context())
				if (err == nil) != (s.err == "") || err != nil && !strings.Contains(err.Error(), s.err) {
					t.Errorf("step %d: Round() = %v, want %q", i, err, s.err)
				}
			}
			if diff := cmp.Diff(test.want, w.String()); diff != "" {
				t.Errorf("store (-want +got):\n%s\nlog:\n%s", diff, w.log.String())
			}
		})
	}
}

// TestComesBack: what happens between looking and acting counts, not what was seen.
func TestComesBack(t *testing.T) {
	w := newWorld(t)
	w.put("a", "10.0.0.1")
	if _, err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Routes = func() (Routes, error) { // the last look before acting: a DEL and an ADD of the same names come between
		w.update(func(tx *store.Tx) error {
			again := store.Allocation{Attachment: attachment("a"), Netns: "/run/netns/a", Allocated: time.Unix(9, 0), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
			return errors.Join(tx.Release(attachment("a"), 3), tx.Put(again))
		})
		return Routes{}, nil
	}
	if _, err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := w.String(), "10.0.0.1 cools since 3\na has [10.0.0.2]\na noted"; got != want {
		t.Errorf("store\n%s\nwant\n%s", got, want)
	}
}

// TestFinishedMeanwhile: an ADD is finished between the look at the store and the release.
func TestFinishedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.put("a", "10.0.0.1")
	w.alive["a"], w.gone["a"] = true, true
	if _, err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Routes = func() (Routes, error) {
		w.update(func(tx *store.Tx) error { return tx.Commit(attachment("a"), time.Unix(9, 0)) })
		return w.noRoutes(), nil
	}
	if _, err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := w.String(), "a has [10.0.0.1]\na noted"; got != want {
		t.Errorf("store\n%s\nwant\n%s", got, want)
	}
}

func TestReleaseIsLogged(t *testing.T) {
	w := newWorld(t)
	w.put("a", "10.0.0.1")
	for range 3 {
		if _, err := w.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if log := w.log.String(); strings.Count(log, "msg=released") != 1 || !strings.Contains(log, "attachment=flock/a/eth0") || !strings.Contains(log, "10.0.0.1") {
		t.Errorf("log\n%s\nwant one line about the release", log)
	}
}
