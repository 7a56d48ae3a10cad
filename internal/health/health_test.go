// SPDX-License-Identifier: Apache-2.0

package health

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// logger writes lines without their time.
func logger(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func TestSetLogsWhatChanges(t *testing.T) {
	var out bytes.Buffer
	h := New(logger(&out), "store")
	for _, problem := range []string{"", "full", "full", "broken", "", ""} {
		var err error
		if problem != "" {
			err = errors.New(problem)
		}
		h.Set("store", err)
	}
	want := `level=ERROR msg=problem area=store problem=full
level=ERROR msg=problem area=store problem=broken
level=INFO msg=solved area=store problem=broken
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestReady(t *testing.T) {
	h := New(slog.New(slog.DiscardHandler), "store", "pools")
	check := func(want string) {
		t.Helper()
		got := ""
		if err := h.Ready(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Ready() = %q, want %q", got, want)
		}
	}
	check("store: not yet\npools: not yet")
	h.Set("store", nil)
	h.Set("pools", errors.New("none"))
	check("pools: none")
	h.Set("peer tor", errors.New("down"))
	h.Set("pools", nil)
	check("")
}

func TestProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(slog.New(slog.DiscardHandler))
		var handed [][]Problem
		h.OnChange(func(p []Problem) { handed = append(handed, p) })
		start := time.Now().UTC()
		h.Set("pools", errors.New("none"))
		time.Sleep(time.Minute)
		h.Set("bird", errors.New("dead"))
		h.Set("bird", errors.New("dead"))
		both := []Problem{{"bird", "dead", start.Add(time.Minute)}, {"pools", "none", start}}
		if diff := cmp.Diff(both, h.Problems()); diff != "" {
			t.Errorf("Problems() (-want +got):\n%s", diff)
		}
		h.Set("pools", nil)
		if diff := cmp.Diff([][]Problem{both[1:], both, both[:1]}, handed); diff != "" {
			t.Errorf("handed on (-want +got):\n%s", diff)
		}
	})
}

func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(slog.New(slog.DiscardHandler))
		reconcile := h.Loop("reconcile", time.Minute)
		h.Loop("speaker", 10*time.Minute)
		for range 5 {
			time.Sleep(time.Minute)
			if err := h.Alive(); err != nil {
				t.Fatal(err)
			}
			reconcile()
		}
		time.Sleep(61 * time.Second)
		if err := h.Alive(); err == nil || err.Error() != "reconcile: stuck for 1m1s" {
			t.Errorf("Alive() = %v, want reconcile to be stuck", err)
		}
		reconcile()
		time.Sleep(5 * time.Minute)
		if err := h.Alive(); err == nil || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("Alive() = %v, want both to be stuck", err)
		}
	})
}
