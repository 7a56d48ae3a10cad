// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"errors"
	"testing"
	"time"
)

// TestFailedAddTellsLate: a second ADD of the attachment has its address when ipamd hears that the first one has failed,
// whose question had no answer.
func TestFailedAddTellsLate(t *testing.T) {
	y := newYard(t, "a")
	y.start()
	away := errors.New("away")
	y.ext["a"].says(func() { y.ext["a"].fail = away })
	if _, err := y.ask("x", "a", time.Second); !errors.Is(err, away) {
		t.Fatal(err)
	}
	y.ext["a"].says(func() { y.ext["a"].fail, y.ext["a"].lost = nil, 2 })
	y.gives("10.0.0.1", "x", "a")
	if err := y.Abandon(t.Context(), one("x")); err != nil {
		t.Error(err)
	}
	y.rounds("a", "x")
	y.put("x", "10.0.0.1")
	y.rounds("a", "x")
	y.del("x")
	y.has("a", "")
}
