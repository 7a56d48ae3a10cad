// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/reconcile"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/usage"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

func read() (usage.Usage, store.Counters, error) {
	u := usage.Usage{
		Pools: []usage.Pool{
			{Pool: pool.Pool{Name: "v4", Prefix: netip.MustParsePrefix("10.0.0.0/24")}, Pending: 1, Committed: 2, Cooling: 3, Free: 4},
			{Pool: pool.Pool{Name: "v6", Prefix: netip.MustParsePrefix("2001:db8::/64")}, Free: math.MaxUint64},
		},
		Outside:     []usage.Stray{{}},
		Attachments: map[store.State]int{store.Committed: 2},
	}
	c := store.Counters{Allocated: 9, Committed: 5, Undone: 1, Refused: map[uint]uint64{cni.CodePoolExhausted: 7, 11: 8}}
	c.Durations.Buckets[1], c.Durations.Sum = 5, 9*time.Millisecond
	return u, c, nil
}

// gather returns the registry's samples, a line each, histograms by their counts.
func gather(t *testing.T, registry *prometheus.Registry) []string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := family.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			lines = append(lines, fmt.Sprint(name, " ", value))
		}
	}
	return lines
}

func TestStore(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(Store{read})
	want := `flock_ipamd_add_duration_seconds 5
flock_ipamd_adds_allocated_total 9
flock_ipamd_adds_committed_total 5
flock_ipamd_adds_refused_total{code="101",reason="PoolExhausted"} 7
flock_ipamd_adds_refused_total{code="11",reason="TryAgainLater"} 8
flock_ipamd_adds_undone_total 1
flock_ipamd_attachments{state="committed"} 2
flock_ipamd_attachments{state="pending"} 0
flock_ipamd_outside_addresses 1
flock_ipamd_pool_allocated_addresses{pool="v4",state="committed"} 2
flock_ipamd_pool_allocated_addresses{pool="v4",state="pending"} 1
flock_ipamd_pool_allocated_addresses{pool="v6",state="committed"} 0
flock_ipamd_pool_allocated_addresses{pool="v6",state="pending"} 0
flock_ipamd_pool_cooling_addresses{pool="v4"} 3
flock_ipamd_pool_cooling_addresses{pool="v6"} 0
flock_ipamd_pool_free_addresses{pool="v4"} 4
flock_ipamd_pool_free_addresses{pool="v6"} 1.8446744073709552e+19
flock_ipamd_store_readable 1`
	if diff := cmp.Diff(want, strings.Join(gather(t, registry), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestUnreadableStore: what is not known is not said to be nothing.
func TestUnreadableStore(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(Store{func() (usage.Usage, store.Counters, error) {
		return usage.Usage{}, store.Counters{}, errors.New("damaged")
	}})
	if got := gather(t, registry); !slices.Equal(got, []string{"flock_ipamd_store_readable 0"}) {
		t.Errorf("%q", got)
	}
}

func TestDaemon(t *testing.T) {
	registry := prometheus.NewRegistry()
	d := New(registry)
	d.Round(reconcile.Done{Released: 2, Adopted: 3}, nil)
	d.Round(reconcile.Done{Released: 1}, errors.New("torn"))
	d.NodeFileWritten()
	d.NodeConfig(nil)
	got := gather(t, registry)
	for _, want := range []string{
		"flock_ipamd_config_valid 1", "flock_ipamd_node_file_writes_total 1", "flock_ipamd_reconcile_released_total 3", "flock_ipamd_reconcile_adopted_total 3",
		`flock_ipamd_reconcile_rounds_total{outcome="ok"} 1`, `flock_ipamd_reconcile_rounds_total{outcome="failed"} 1`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, strings.Join(got, "\n"))
		}
	}
	d.NodeConfig(errors.New("invalid"))
	if got := gather(t, registry); !slices.Contains(got, "flock_ipamd_config_valid 0") {
		t.Errorf("with an invalid NodeConfig:\n%s", strings.Join(got, "\n"))
	}
}

func TestLookups(t *testing.T) {
	registry := prometheus.NewRegistry()
	errs := map[string]error{"late": fmt.Errorf("late: %w", lookup.ErrWaitExpired), "broken": errors.New("broken")}
	handle := Lookups(registry, func(_ context.Context, pod cni.Pod) (lookup.Answer, error) {
		return lookup.Answer{Image: pod.Name}, errs[pod.Name]
	})
	for _, name := range []string{"a", "late", "b", "broken", "c"} {
		if got, err := handle(t.Context(), cni.Pod{Name: name}); got.Image != name || !errors.Is(err, errs[name]) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	want := `flock_ipamd_lookup_wait_seconds{outcome="expired"} 1
flock_ipamd_lookup_wait_seconds{outcome="failed"} 1
flock_ipamd_lookup_wait_seconds{outcome="found"} 3`
	if diff := cmp.Diff(want, strings.Join(gather(t, registry), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDocumented compares names, types and labels with what docs/metrics.md says.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## ipamd\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(flock_ipamd_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*)\\|").FindAllStringSubmatch(section, -1) {
		labels := strings.NewReplacer("`", "", ",", "").Replace(row[3])
		documented = append(documented, strings.TrimSpace(fmt.Sprint(row[1], " ", row[2], " ", labels)))
	}
	registry := prometheus.NewRegistry()
	New(registry)
	registry.MustRegister(Store{read})
	Lookups(registry, nil)
	NewCluster(registry, map[string]func() bool{"pods": func() bool { return true }}, func() int { return 1 }).Contact(nil)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var exposed []string
	for _, family := range families {
		words := []string{family.GetName(), strings.ToLower(family.GetType().String())}
		for _, l := range family.GetMetric()[0].GetLabel() {
			words = append(words, l.GetName())
		}
		exposed = append(exposed, strings.Join(words, " "))
	}
	exposed = append(exposed, ofExtensions()...)
	slices.Sort(exposed)
	slices.Sort(documented)
	if diff := cmp.Diff(exposed, documented); diff != "" {
		t.Errorf("(-ipamd +docs/metrics.md):\n%s", diff)
	}
}

// ofExtensions describes the metrics of extensions, of which there are none here.
func ofExtensions() (exposed []string) {
	types := map[string]string{"_up": "gauge", "_restarts_total": "counter", "_call_duration_seconds": "histogram"}
	descs := make(chan *prometheus.Desc, 10)
	extension.NewMetrics("ipamd").Describe(descs)
	close(descs)
	for d := range descs {
		parts := regexp.MustCompile(`fqName: "(flock_ipamd_extension(.*?))".*variableLabels: {([^}]*)}`).FindStringSubmatch(d.String())
		exposed = append(exposed, parts[1]+" "+types[parts[2]]+" "+strings.ReplaceAll(parts[3], ",", " "))
	}
	return exposed
}
