// SPDX-License-Identifier: Apache-2.0

package extension

import "github.com/prometheus/client_golang/prometheus"

// Metrics collects how the extensions of one daemon are and what became of its calls:
//
//	flock_<daemon>_extension_up{extension}
//	flock_<daemon>_extension_restarts_total{extension}
//	flock_<daemon>_extension_call_duration_seconds{extension,call,result}
//
// The extension is "speaker-gobgp", the call the name of the contract's method, the result gRPC's, as "OK" or
// "DeadlineExceeded".
type Metrics struct{}

// NewMetrics returns the metrics of the daemon: "ipamd" or "birdd".
func NewMetrics(daemon string) *Metrics { panic("not yet") }

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(to chan<- *prometheus.Desc) { panic("not yet") }

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(to chan<- prometheus.Metric) { panic("not yet") }
