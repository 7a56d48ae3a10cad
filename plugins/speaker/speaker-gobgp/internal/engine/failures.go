// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// failures notes why sessions do not come up. GoBGP tells in its events why a session has ended; why a connection of its
// own did not become one is in its log alone.
type failures struct {
	mu    sync.Mutex
	notes map[netip.Addr]note
}

type note struct {
	text  string
	since time.Time // when the session came into its state
}

func newFailures() *failures { return &failures{notes: map[netip.Addr]note{}} }

func (f *failures) last(a netip.Addr) (text string, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.notes[a].text, f.notes[a].since
}

func (f *failures) forget(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.notes, a)
}

func (f *failures) set(a netip.Addr, text string, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.notes[a]
	if text != "" {
		n.text = text
	}
	if !since.IsZero() {
		n.since = since
	}
	f.notes[a] = n
}

// state notes an event of GoBGP's.
func (f *failures) state(s apiutil.PeerState, at time.Time) {
	text := ""
	if s.SessionState == bgp.BGP_FSM_IDLE {
		text = s.DisconnectMessage
	}
	f.set(s.NeighborAddress, text, at)
}

// handler notes what GoBGP logs about connections that fail, and hands on what it would have logged anyway.
func (f *failures) handler(next slog.Handler) slog.Handler {
	return &logHandler{Handler: next, failures: f}
}

type logHandler struct {
	slog.Handler
	failures *failures
	neighbor netip.Addr
}

// Enabled lets everything come: failed connections are a matter of debugging to GoBGP.
func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs learns which neighbor a logger is of.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := &logHandler{Handler: h.Handler.WithAttrs(attrs), failures: h.failures, neighbor: h.neighbor}
	for _, a := range attrs {
		if addr, err := netip.ParseAddr(a.Value.String()); a.Key == "Key" && err == nil {
			with.neighbor = addr
		}
	}
	return with
}

// Handle notes failures.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if text := failure(r); text != "" && h.neighbor.IsValid() {
		h.failures.set(h.neighbor, text, time.Time{})
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// failure returns what a message tells of a failed connection.
func failure(r slog.Record) string {
	attrs := map[string]slog.Value{}
	switch r.Message {
	case "failed to connect", "sent notification", "received notification":
		r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value; return true })
	default:
		return ""
	}
	if err, ok := attrs["Error"]; ok {
		return err.String()
	}
	code := bgp.NewNotificationErrorCode(uint8(attrs["Code"].Int64()), uint8(attrs["Subcode"].Int64()))
	return fmt.Sprintf("%s: %s", r.Message, code)
}
