// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/reload"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/verdict"
	"flock.fritzlab.net/flock/internal/extension"
)

func seen() *verdict.Seen {
	return &verdict.Seen{
		Config:  &v1alpha1.Config{BGP: &v1alpha1.BGPConfig{Peers: []v1alpha1.PeerConfig{{Name: "tor-a"}, {Name: "tor-b"}}}},
		LeftOut: map[string]string{"tor-b": "left out"},
		Report: &status.Report{
			Speaker: status.Speaker{Name: "bird"},
			Sessions: []status.Session{{
				Peer: "tor-a", State: "Established", Since: time.Now(),
				Families: []status.Family{{Name: "ipv6", Received: 1, Exported: 3}, {Name: "ipv4", Received: 2, Exported: 4}},
			}},
			Summaries: []status.Summary{{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), SentTo: []string{"peer_tor_a"}}},
			Addresses: []status.Address{{Anycast: true}, {Anycast: true}, {}},
		},
	}
}

// lines returns the metrics that differ from 0, as Prometheus reads them.
func lines(t *testing.T, s *verdict.Seen) string {
	t.Helper()
	m := New(func() *verdict.Seen { return s })
	m.Reload(reload.Loaded)
	m.Reload(reload.Unchanged)
	m.Reload(reload.Waiting)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	all := strings.Split(answer.Body.String(), "\n")
	return strings.Join(slices.DeleteFunc(all, func(line string) bool {
		return line == "" || line[0] == '#' || strings.HasSuffix(line, " 0") || strings.Contains(line, "_since_")
	}), "\n")
}

func TestCollect(t *testing.T) {
	const want = `flock_birdd_addresses_announced{kind="anycast"} 2
flock_birdd_addresses_announced{kind="unicast"} 1
flock_birdd_bird_up 1
flock_birdd_config_valid 1
flock_birdd_passwords_missing 1
flock_birdd_prefixes_exported{family="ipv4",peer="tor-a"} 4
flock_birdd_prefixes_exported{family="ipv6",peer="tor-a"} 3
flock_birdd_prefixes_received{family="ipv4",peer="tor-a"} 2
flock_birdd_prefixes_received{family="ipv6",peer="tor-a"} 1
flock_birdd_reloads_total{outcome="loaded"} 1
flock_birdd_session_state{peer="tor-a",state="Established"} 1
flock_birdd_session_state{peer="tor-b",state="Absent"} 1
flock_birdd_summary_exported{cidr="2001:db8:1::/64"} 1`
	if diff := cmp.Diff(want, lines(t, seen())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCollectWithoutBIRD(t *testing.T) {
	s := seen()
	s.ConfigErr, s.LeftOut = os.ErrNotExist, nil
	s.Report.Speaker.Error, s.Report.Summaries[0].SentTo, s.Report.Addresses = "away", nil, nil
	if got := lines(t, s); got != `flock_birdd_reloads_total{outcome="loaded"} 1` {
		t.Errorf("all of this is not 0:\n%s", got)
	}
	if got := lines(t, nil); got != `flock_birdd_reloads_total{outcome="loaded"} 1` {
		t.Errorf("before anything was seen:\n%s", got)
	}
}

// TestDocumented compares with what docs/metrics.md says.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## birdd\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented, described []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(flock_birdd_[a-z_]+)`").FindAllStringSubmatch(section, -1) {
		documented = append(documented, match[1])
	}
	descs := make(chan *prometheus.Desc, 100)
	New(nil).Describe(descs)
	extension.NewMetrics("birdd").Describe(descs)
	close(descs)
	for d := range descs {
		described = append(described, regexp.MustCompile(`fqName: "([^"]*)"`).FindStringSubmatch(d.String())[1])
	}
	slices.Sort(documented)
	slices.Sort(described)
	if diff := cmp.Diff(described, documented); diff != "" {
		t.Errorf("(-birdd +docs/metrics.md):\n%s", diff)
	}
}
