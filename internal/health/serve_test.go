// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// serve runs the server for the test's time and returns its URL.
func serve(t *testing.T, h *Health, metrics prometheus.Gatherer) string {
	t.Helper()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Serve(ctx, listener, metrics) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return "http://" + listener.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestServe(t *testing.T) {
	h := New(slog.New(slog.DiscardHandler), "store")
	registry := NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "flock_test_answer", Help: "An answer."}, func() float64 { return 42 }))
	url := serve(t, h, registry)
	alive := h.Loop("reconcile", time.Nanosecond)
	for _, test := range []struct {
		name, path string
		before     func()
		code       int
		want       string
	}{
		{"stuck", "/healthz", func() {}, 503, "reconcile: stuck for 0s\n"},
		{"alive", "/healthz", func() { h.Loop("reconcile", time.Hour); alive() }, 200, "ok\n"},
		{"not yet ready", "/readyz", func() {}, 503, "store: not yet\n"},
		{"problem", "/readyz", func() { h.Set("store", errors.New("full")) }, 503, "store: full\n"},
		{"alive with a problem", "/healthz", func() {}, 200, "ok\n"},
		{"ready", "/readyz", func() { h.Set("store", nil) }, 200, "ok\n"},
		{"own metric", "/metrics", func() {}, 200, "\nflock_test_answer 42\n"},
		{"Go's metrics", "/metrics", func() {}, 200, "\ngo_goroutines "},
		{"the process's metrics", "/metrics", func() {}, 200, "\nprocess_resident_memory_bytes "},
		{"nothing else", "/debug/pprof/", func() {}, 404, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.before()
			code, body := get(t, url+test.path)
			exact := test.path != "/metrics" && test.code != 404
			if code != test.code || !strings.Contains(body, test.want) || exact && body != test.want {
				t.Errorf("GET %s = %d %q, want %d %q", test.path, code, body, test.code, test.want)
			}
		})
	}
}

func TestListenNamesTheAddress(t *testing.T) {
	if _, err := Listen(t.Context(), "127.0.0.1:x"); err == nil || !strings.Contains(err.Error(), "listen for health checks: listen tcp") {
		t.Errorf("Listen() = %v", err)
	}
}
