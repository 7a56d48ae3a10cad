// SPDX-License-Identifier: Apache-2.0

// Package metrics holds ipamd's metrics. docs/metrics.md explains each.
package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/reconcile"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/plugins/cni"
)

const prefix = "flock_ipamd_"

// Daemon is what ipamd counts of its own work.
type Daemon struct {
	rounds         *prometheus.CounterVec
	roundTime      prometheus.Gauge
	released       prometheus.Counter
	adopted        prometheus.Counter
	nodeFileWrites prometheus.Counter
	configValid    prometheus.Gauge
}

// New registers them.
func New(registry prometheus.Registerer) *Daemon {
	d := &Daemon{
		rounds: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "reconcile_rounds_total",
			Help: "Comparisons of the store with the node, by outcome: ok, or failed where not all could be read or done."}, []string{"outcome"}),
		roundTime: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "reconcile_last_ok_timestamp_seconds",
			Help: "When a comparison of the store with the node last went well."}),
		released: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "reconcile_released_total",
			Help: "Attachments whose addresses were released because they were found dead twice."}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "reconcile_adopted_total",
			Help: "Addresses taken into the store because they were in use and not in it."}),
		nodeFileWrites: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "node_file_writes_total",
			Help: "How often node.json was written."}),
		configValid: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "config_valid",
			Help: "1 while node.json is as the NodeConfig, or the podCIDRs in want of one, say; 0 while there is none, or it is not valid, or cannot be written."}),
	}
	registry.MustRegister(d.rounds, d.roundTime, d.released, d.adopted, d.nodeFileWrites, d.configValid)
	for _, outcome := range []string{"ok", "failed"} {
		d.rounds.WithLabelValues(outcome)
	}
	return d
}

// Round counts a comparison.
func (d *Daemon) Round(done reconcile.Done, err error) {
	d.released.Add(float64(done.Released))
	d.adopted.Add(float64(done.Adopted))
	if err != nil {
		d.rounds.WithLabelValues("failed").Inc()
		return
	}
	d.rounds.WithLabelValues("ok").Inc()
	d.roundTime.SetToCurrentTime()
}

// NodeFileWritten counts a write of node.json.
func (d *Daemon) NodeFileWritten() { d.nodeFileWrites.Inc() }

// NodeConfig notes what is wrong with the NodeConfig.
func (d *Daemon) NodeConfig(err error) {
	if err != nil {
		d.configValid.Set(0)
		return
	}
	d.configValid.Set(1)
}

// The outcomes of lookups.
var outcomes = []string{"found", "expired", "failed"}

// Lookups registers what is counted of lookups, and returns a handler that counts what this one answers.
func Lookups(registry prometheus.Registerer, handle lookup.Handler) lookup.Handler {
	waits := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + "lookup_wait_seconds",
		Help:    "How long flock-ipam waited for a pod's annotations, by outcome: found, expired where the pod did not show up in time, or failed.",
		Buckets: []float64{.0001, .001, .01, .05, .1, .2, .5, 1, 2, 5, 10}}, []string{"outcome"})
	registry.MustRegister(waits)
	for _, outcome := range outcomes {
		waits.WithLabelValues(outcome)
	}
	return func(ctx context.Context, pod cni.Pod) (lookup.Answer, error) {
		start := time.Now()
		answer, err := handle(ctx, pod)
		waits.WithLabelValues(outcome(err)).Observe(time.Since(start).Seconds())
		return answer, err
	}
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "found"
	case errors.Is(err, lookup.ErrWaitExpired):
		return "expired"
	}
	return "failed"
}
