// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"encoding/base64"
	"testing"
)

// Compact forgets all history, so that a watch which continues from before gets 410 Gone ("too old resource
// version") and has to list again. The server is started again where it runs: it remembers the history itself.
func (s *Server) Compact(t testing.TB) {
	t.Helper()
	running := s.running()
	s.Stop()
	check(t, s.compact(context.Background()))
	if running {
		s.Resume(t)
	}
}

// compact makes one revision more, so that the latest which a client may know is among the forgotten.
func (s *Server) compact(ctx context.Context) error {
	var made struct {
		Header struct{ Revision string }
	}
	key := base64.StdEncoding.EncodeToString([]byte("/flock-test/compact"))
	if err := s.askEtcd(ctx, "/v3/kv/put", map[string]any{"key": key, "value": key}, &made); err != nil {
		return err
	}
	return s.askEtcd(ctx, "/v3/kv/compaction", map[string]any{"revision": made.Header.Revision, "physical": true}, &struct{}{})
}
