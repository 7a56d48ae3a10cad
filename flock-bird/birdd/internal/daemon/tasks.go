// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/summary"
	"flock.fritzlab.net/flock/internal/hint"
	"flock.fritzlab.net/flock/internal/task"
)

// The rhythm of the comparisons: at once after an event, but not oftener than rest, and every interval
// without one.
const (
	configRest      = 50 * time.Millisecond
	summariesRest   = time.Second
	compareInterval = 30 * time.Second
)

func (d *daemon) keepConfig(ctx context.Context) error {
	return task.Loop(ctx, d.sourced, configRest, compareInterval, func(context.Context) { d.takeConfig() })
}

// takeConfig takes over a valid NodeConfig. An invalid one changes nothing.
func (d *daemon) takeConfig() {
	config, err := d.Source.Read()
	d.problems.set(areaNodeConfig, err)
	if err != nil {
		return
	}
	d.config.Store(config)
	d.summaries.Fire()
	d.speaker.changed()
}

func (d *daemon) keepSummaries(ctx context.Context, keeper *summary.Keeper) error {
	return task.Loop(ctx, d.summaries, summariesRest, compareInterval, func(context.Context) {
		config := d.config.Load()
		if config == nil {
			return
		}
		done, err := keeper.Apply(summary.WantOf(config, d.Table))
		for _, r := range done.Add {
			d.Log.Info("added route", "route", r.String())
		}
		for _, r := range done.Delete {
			d.Log.Info("deleted route", "route", r.String())
		}
		d.problems.set(areaSummaries, err)
	})
}

// takeHints compares when an attachment has come or gone, rather than at the next interval.
func (d *daemon) takeHints(ctx context.Context, hints *hint.Listener) error {
	defer context.AfterFunc(ctx, func() { hints.Close() })()
	for {
		_, err := hints.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		d.summaries.Fire()
	}
}

// serveHealth answers /healthz while birdd runs, and /readyz with what is wrong.
func (d *daemon) serveHealth(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := d.problems.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health checks: %w", err)
	}
	return nil
}
