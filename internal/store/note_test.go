// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/plugins/cni"
)

type note struct{ Link string }

func TestNotes(t *testing.T) {
	s := newStore(t)
	a, b := attachment("a"), cni.Attachment{Network: "other", ContainerID: "a", IfName: "net1"}
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.SetNote("route", a, note{"old"}), tx.SetNote("route", a, note{"cbr0"}),
			tx.SetNote("route", b, note{"veth1"}),
			tx.SetNote("route2", a, note{"not route's"}),
			tx.SetNote("bird", a, note{"not route's"}),
			tx.DeleteNote("bird", b))
	})
	check := func(want map[cni.Attachment]note) {
		t.Helper()
		got := map[cni.Attachment]note{}
		view(t, s, func(tx *Tx) error {
			return Notes(tx, "route", func(a cni.Attachment, n note) error { got[a] = n; return nil })
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error("notes (-want +got):\n" + diff)
		}
	}
	check(map[cni.Attachment]note{a: {"cbr0"}, b: {"veth1"}})
	update(t, s, func(tx *Tx) error { return tx.DeleteNote("route", a) })
	check(map[cni.Attachment]note{b: {"veth1"}})
}

// TestNoteOfAnotherVersion: what does not decode is an error, not damage.
func TestNoteOfAnotherVersion(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error { return tx.SetNote("route", attachment("a"), "text") })
	err := s.View(func(tx *Tx) error {
		var n note
		_, err := tx.Note("route", attachment("a"), &n)
		return err
	})
	if err == nil || isDamage(err) || !strings.Contains(err.Error(), "decode record") {
		t.Errorf("note: %v, want a decoding error that is no damage", err)
	}
	if err := s.Verify(); err != nil {
		t.Error("verify:", err)
	}
}

func TestCursor(t *testing.T) {
	s := newStore(t)
	pool, last := netip.MustParsePrefix("10.0.0.0/24"), netip.MustParseAddr("10.0.0.7")
	update(t, s, func(tx *Tx) error { return tx.SetCursor(pool, last) })
	view(t, s, func(tx *Tx) error {
		got, given, err := tx.Cursor(pool)
		if got != last || !given {
			t.Errorf("cursor %v, %v; want %v", got, given, last)
		}
		if _, given, _ := tx.Cursor(netip.MustParsePrefix("10.0.0.0/25")); given {
			t.Error("another pool has a cursor")
		}
		return err
	})
}
