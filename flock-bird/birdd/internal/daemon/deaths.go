// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"time"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/birdconf"
	"flock.fritzlab.net/flock/internal/birdctl"
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
		switch err := d.scan(ctx); {
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

// scan has BIRD read the table. BIRD does so in a timer, and sends what a timer has found when something
// else wakes it, or after 3 seconds: here the end of the connection wakes it.
func (d *daemon) scan(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, birdPatience)
	defer cancel()
	conn, err := birdctl.Dial(ctx, d.speaker.loader.Socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.ReloadIn(ctx, birdconf.KernelAnnounce4)
}
