// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"os"
	"testing"
)

// TestRequestsWhileOneIsWritten reads the audit log as it is when the server has written a part of a line.
func TestRequestsWhileOneIsWritten(t *testing.T) {
	s := &Server{dir: t.TempDir()}
	for content, want := range map[string]int{
		"": 0, `{"verb": "li`: 0, "{\"verb\": \"list\"}\n{\"verb\": \"wa": 1, "{\"verb\": \"list\"}\n{\"verb\": \"watch\"}\n": 2,
	} {
		check(t, os.WriteFile(s.auditLog(), []byte(content), 0o600))
		if got := s.Requests(t, ""); len(got) != want {
			t.Errorf("of %q the requests are %v, want %d", content, got, want)
		}
	}
}
