// SPDX-License-Identifier: Apache-2.0

// Package metrics shows Prometheus how the node announces. docs/metrics.md lists them for their readers.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/reload"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/verdict"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("flock_birdd_"+name, help, labels, nil)
}

var (
	configValid      = desc("config_valid", "Whether birdd goes by the NodeConfig as it is now.")
	birdUp           = desc("bird_up", "Whether BIRD answers on its control socket, where it is the speaker.")
	sessionState     = desc("session_state", "The state of each peer's session: 1 for the one it is in.", "peer", "state")
	sessionSince     = desc("session_since_timestamp_seconds", "When the session got into its state.", "peer")
	prefixesReceived = desc("prefixes_received", "Prefixes taken from the peer.", "peer", "family")
	prefixesExported = desc("prefixes_exported", "Prefixes sent to the peer.", "peer", "family")
	passwordsMissing = desc("passwords_missing", "Peers that have no session because their password cannot be read.")
	summaryExported  = desc("summary_exported", "To how many sessions a pool is exported.", "cidr")
	addresses        = desc("addresses_announced", "Single addresses that the node announces.", "kind")

	all = []*prometheus.Desc{configValid, birdUp, sessionState, sessionSince, prefixesReceived, prefixesExported,
		passwordsMissing, summaryExported, addresses}
)

// Metrics are those of birdd, a [prometheus.Collector].
type Metrics struct {
	seen    func() *verdict.Seen
	reloads *prometheus.CounterVec
}

// New returns the metrics of what seen returns, nil before there is anything.
func New(seen func() *verdict.Seen) *Metrics {
	m := &Metrics{seen: seen, reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flock_birdd_reloads_total", Help: "Attempts to have the speaker go by a new configuration, by outcome.",
	}, []string{"outcome"})}
	for _, outcome := range []reload.Outcome{reload.Loaded, reload.Refused, reload.Failed} {
		m.reloads.WithLabelValues(string(outcome))
	}
	return m
}

// Reload counts an attempt; one that had nothing to do is none.
func (m *Metrics) Reload(outcome reload.Outcome) {
	switch outcome {
	case reload.Loaded, reload.Refused, reload.Failed:
		m.reloads.WithLabelValues(string(outcome)).Inc()
	}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.reloads.Describe(ch)
	for _, d := range all {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]. It shows the last look at the speaker and the kernel.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.reloads.Collect(ch)
	seen := m.seen()
	if seen == nil {
		return
	}
	g := gauges(ch)
	g.set(configValid, truth(seen.Config != nil && seen.ConfigErr == nil))
	g.set(passwordsMissing, float64(len(seen.LeftOut)))
	g.routes(seen.Report)
	if !seen.Foreign {
		if seen.Report.Speaker.Name == v1alpha1.SpeakerBIRD {
			g.set(birdUp, truth(seen.Report.Speaker.Error == ""))
		}
		g.sessions(seen)
	}
}

type gauges chan<- prometheus.Metric

func (g gauges) set(d *prometheus.Desc, value float64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (g gauges) routes(r *status.Report) {
	for _, s := range r.Summaries {
		g.set(summaryExported, float64(len(s.SentTo)), s.Prefix.String())
	}
	kinds := map[string]float64{"anycast": 0, "unicast": 0}
	for _, a := range r.Addresses {
		kinds[a.Kind()]++
	}
	for kind, count := range kinds {
		g.set(addresses, count, kind)
	}
}

func (g gauges) sessions(seen *verdict.Seen) {
	for _, p := range verdict.Peers(*seen) {
		for _, state := range verdict.States {
			g.set(sessionState, truth(p.State == state), p.Name, state)
		}
		if p.Since != nil {
			g.set(sessionSince, float64(p.Since.Unix()), p.Name)
		}
		for family, count := range verdict.Prefixes(*seen, p.Name) {
			g.set(prefixesReceived, float64(count.Received), p.Name, family)
			g.set(prefixesExported, float64(count.Exported), p.Name, family)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
