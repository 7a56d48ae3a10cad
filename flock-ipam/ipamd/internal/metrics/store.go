// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/complain"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/usage"
	"flock.fritzlab.net/flock/internal/store"
)

// Store collects what the store says at the time of the scrape.
type Store struct {
	// Read returns how the pools are used, and what became of ADDs.
	Read func() (usage.Usage, store.Counters, error)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

var (
	readable = desc("store_readable", "1 if the store could be read for this scrape; 0 if not, and then what is read from it is missing.")

	attachments = desc("attachments", "Attachments that have addresses, by state: pending until their ADD is finished, then committed.", "state")
	allocated   = desc("pool_allocated_addresses", "Addresses of a pool that attachments have, by the attachment's state.", "pool", "state")
	cooling     = desc("pool_cooling_addresses", "Addresses of a pool that were released less than the cool-down ago.", "pool")
	free        = desc("pool_free_addresses", "Addresses of a pool that could be given out now, those that cool not among them; 1.8e19 stands for that and more.", "pool")
	outside     = desc("outside_addresses", "Addresses that attachments have and that lie in no pool: asked for by annotation, or of a pool that is gone.")

	addsAllocated = desc("adds_allocated_total", "ADDs for which flock-ipam allocated addresses.")
	addsCommitted = desc("adds_committed_total", "ADDs that were finished.")
	addsUndone    = desc("adds_undone_total", "ADDs whose addresses were released before they were finished.")
	addsRefused   = desc("adds_refused_total", "ADDs that flock-ipam refused, by the CNI error's code and its name.", "code", "reason")
	addDuration   = desc("add_duration_seconds", "Time from the beginning of an ADD in flock-ipam until it was finished.")
)

// Describe implements [prometheus.Collector].
func (s Store) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{readable, attachments, allocated, cooling, free, outside,
		addsAllocated, addsCommitted, addsUndone, addsRefused, addDuration} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (s Store) Collect(to chan<- prometheus.Metric) {
	u, counters, err := s.Read()
	gauge(to, readable, truth(err == nil))
	if err != nil {
		return
	}
	collectUsage(to, u)
	collectCounters(to, counters)
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func counter(to chan<- prometheus.Metric, d *prometheus.Desc, value uint64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func collectUsage(to chan<- prometheus.Metric, u usage.Usage) {
	for _, state := range []store.State{store.Pending, store.Committed} {
		gauge(to, attachments, float64(u.Attachments[state]), string(state))
	}
	for _, p := range u.Pools {
		gauge(to, allocated, float64(p.Pending), p.Name, string(store.Pending))
		gauge(to, allocated, float64(p.Committed), p.Name, string(store.Committed))
		gauge(to, cooling, float64(p.Cooling), p.Name)
		gauge(to, free, float64(p.Free), p.Name)
	}
	gauge(to, outside, float64(len(u.Outside)))
}

func collectCounters(to chan<- prometheus.Metric, c store.Counters) {
	counter(to, addsAllocated, c.Allocated)
	counter(to, addsCommitted, c.Committed)
	counter(to, addsUndone, c.Undone)
	for code, n := range c.Refused {
		counter(to, addsRefused, n, strconv.FormatUint(uint64(code), 10), complain.Reason(code))
	}
	n, upTo := c.Durations.Cumulative()
	to <- prometheus.MustNewConstHistogram(addDuration, n, c.Durations.Sum.Seconds(), upTo)
}
