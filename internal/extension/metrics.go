// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Metrics collects how the extensions of one daemon are and what became of its calls:
//
//	flock_<daemon>_extension_up{extension}
//	flock_<daemon>_extension_restarts_total{extension}
//	flock_<daemon>_extension_call_duration_seconds{extension,call,result}
//
// The extension is "speaker-gobgp", the call the name of the contract's method, the result gRPC's, as "OK" or
// "DeadlineExceeded". A nil *Metrics collects nothing.
type Metrics struct {
	up, restarts *prometheus.Desc
	calls        *prometheus.HistogramVec

	mu     sync.Mutex
	states map[string]func() State
}

// NewMetrics returns the metrics of the daemon: "ipamd" or "birdd".
func NewMetrics(daemon string) *Metrics {
	prefix := "flock_" + daemon + "_extension_"
	return &Metrics{
		up: prometheus.NewDesc(prefix+"up", "1 if the extension is there.", []string{"extension"}, nil),
		restarts: prometheus.NewDesc(prefix+"restarts_total", "How often the extension was started again.",
			[]string{"extension"}, nil),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + "call_duration_seconds",
			Help:    "How long calls of the extension took, by gRPC's code for their result.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .05, .1, .5, 1, 5, 10}}, []string{"extension", "call", "result"}),
		states: map[string]func() State{},
	}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.up
	to <- m.restarts
	m.calls.Describe(to)
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.calls.Collect(to)
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, state := range m.states {
		s, up := state(), 0.
		if s.Up {
			up = 1
		}
		to <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, up, id)
		to <- prometheus.MustNewConstMetric(m.restarts, prometheus.CounterValue, float64(s.Restarts), id)
	}
}

func (m *Metrics) add(id string, state func() State) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[id] = state
}

func (m *Metrics) remove(id string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.states, id)
}

// observe returns what measures the calls of a connection that are the contract's own. One that failed because the
// extension ended says so, whether the connection was closed from here or from there.
func (m *Metrics) observe(id string) grpc.DialOption {
	return grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, answer any,
		conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		began := time.Now()
		err := invoke(ctx, method, request, answer, conn, options...)
		if status.Code(err) == codes.Canceled && ctx.Err() == nil {
			err = status.Error(codes.Unavailable, "the extension ended")
		}
		if m != nil && !strings.HasPrefix(method, "/plugin.") && !strings.HasPrefix(method, "/grpc.") {
			m.calls.WithLabelValues(id, path.Base(method), status.Code(err).String()).Observe(time.Since(began).Seconds())
		}
		return err
	})
}
