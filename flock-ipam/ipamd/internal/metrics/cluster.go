// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Cluster says how far ipamd is in touch with the API server.
type Cluster struct {
	reachable prometheus.Gauge
	contact   atomic.Int64
}

// NewCluster registers it. synced tells by resource whether all that there was has been told of, and pods how
// many are known.
func NewCluster(registry prometheus.Registerer, synced map[string]func() bool, pods func() int) *Cluster {
	c := &Cluster{reachable: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "api_reachable",
		Help: "1 if the API server answered the last request, 0 if it did not."})}
	registry.MustRegister(c.reachable,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "api_last_answer_timestamp_seconds",
			Help: "When the API server last answered a request; a watch is one that it answers once, and renews every few minutes."},
			func() float64 { return float64(c.contact.Load()) / 1e9 }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "pods", Help: "Pods of the node that ipamd knows of."},
			func() float64 { return float64(pods()) }))
	for resource, is := range synced {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "informer_synced",
			Help:        "1 once the API server has told of all objects that there were, by resource.",
			ConstLabels: prometheus.Labels{"resource": resource}},
			func() float64 { return truth(is()) }))
	}
	return c
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Contact notes an exchange with the API server: nil where it answered.
func (c *Cluster) Contact(err error) {
	c.reachable.Set(truth(err == nil))
	if err == nil {
		c.contact.Store(time.Now().UnixNano())
	}
}
