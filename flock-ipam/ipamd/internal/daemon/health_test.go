// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	var log strings.Builder
	h := newHealth(slog.New(slog.NewTextHandler(&log, nil)), "pools", "store")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.serve(ctx, listener) }()

	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	expect := func(code int, text string) {
		t.Helper()
		if got, body := get("/readyz"); got != code || !strings.Contains(body, text) {
			t.Errorf("readyz %d %q, want %d and %q", got, body, code, text)
		}
		if got, _ := get("/healthz"); got != http.StatusOK {
			t.Errorf("healthz %d, want 200", got)
		}
	}
	expect(503, "pools: not yet")
	h.set("pools", nil)
	expect(503, "store: not yet")
	h.set("store", nil)
	expect(200, "ok")
	for range 3 {
		h.set("store", errors.New("torn"))
	}
	expect(503, "store: torn")
	h.set("store", nil)
	expect(200, "ok")
	if got := log.String(); strings.Count(got, "msg=problem") != 1 || strings.Count(got, "msg=solved") != 1 {
		t.Errorf("log\n%s\nwant one problem and its solution", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("serve() = %v after the context ended", err)
	}
}
