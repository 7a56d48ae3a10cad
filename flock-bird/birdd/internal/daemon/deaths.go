// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

// deathsRest is the least time between two scans that birdd asks for: links may die by the hundred.
const deathsRest = 100 * time.Millisecond

// answerDeaths has BIRD read the announcement table again when a link has died under its IPv4 routes, of
// whose end the kernel tells nobody. BIRD looks when a link goes down, but that is told before the routes
// go: a BIRD that was too quick would announce them until its next scan.
func (d *daemon) answerDeaths(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.deaths:
		}
		if *d.sessions.name.Load() != v1alpha1.SpeakerBIRD || !d.sessions.managed {
			continue // the speaker sees to it
		}
		switch err := within(ctx, d.sessions.bird.Rescan); {
		case ctx.Err() != nil:
		case err != nil:
			d.Log.Warn("a link died that addresses were announced by; BIRD sees it at its next scan", "error", err)
		default:
			d.Log.Info("a link died that addresses were announced by; BIRD has been told to look")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(deathsRest):
		}
	}
}
