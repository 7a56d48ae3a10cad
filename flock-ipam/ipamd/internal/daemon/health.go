// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// health knows how each of the daemon's areas is. A problem is logged when it appears and when it is
// solved, not each time that it is met again.
type health struct {
	log *slog.Logger

	mu    sync.Mutex
	areas map[string]error
	known map[string]bool // areas that were reported on
}

// newHealth returns a health that is ready when every area was reported on and is well.
func newHealth(log *slog.Logger, areas ...string) *health {
	h := &health{log: log, areas: map[string]error{}, known: map[string]bool{}}
	for _, area := range areas {
		h.areas[area] = nil
	}
	return h
}

// set notes how an area is: err, or well.
func (h *health) set(area string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.areas[area]
	h.areas[area], h.known[area] = err, true
	switch {
	case err == nil && before != nil:
		h.log.Info("solved", "area", area, "problem", before.Error())
	case err != nil && (before == nil || before.Error() != err.Error()):
		h.log.Error("problem", "area", area, "problem", err.Error())
	}
}

// ready returns what the daemon is not ready for.
func (h *health) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var missing []error
	for area, err := range h.areas {
		if !h.known[area] {
			err = errors.New("not yet")
		}
		if err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", area, err))
		}
	}
	return errors.Join(missing...)
}

// serve answers /healthz (the process works) and /readyz (everything is well) until the context ends.
func (h *health) serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.ready()) })
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health checks on %s: %w", listener.Addr(), err)
	}
	return nil
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}
