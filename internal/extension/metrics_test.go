// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/emptypb"
)

// gather returns the metrics as lines, with how many calls there were in the place of how long they took.
func gather(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, family := range families {
		for _, m := range family.Metric {
			line := family.GetName()
			for _, label := range m.Label {
				line += " " + label.GetName() + "=" + label.GetValue()
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			lines = append(lines, fmt.Sprintf("%s %v\n", line, value))
		}
	}
	return strings.Join(slices.Sorted(slices.Values(lines)), "")
}

func TestMetrics(t *testing.T) {
	metrics := NewMetrics("ipamd")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics)
	check := func(want string) {
		t.Helper()
		if diff := cmp.Diff(want, gather(t, registry)); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
	}
	check("")
	r := prepare(t, "good", func(o *Options) { o.Metrics = metrics }).run()
	r.say("hello")
	r.say("hello")
	if err := r.echo().conn.Invoke(t.Context(), "/flock.echo.v1.Echo/Sing", &emptypb.Empty{}, &emptypb.Empty{}); err == nil {
		t.Error("it sings")
	}
	check(`flock_ipamd_extension_call_duration_seconds call=Say extension=echo-good result=OK 2
flock_ipamd_extension_call_duration_seconds call=Sing extension=echo-good result=Unimplemented 1
flock_ipamd_extension_restarts_total extension=echo-good 0
flock_ipamd_extension_up extension=echo-good 1
`)
	r.echo().say(t.Context(), "leave")
	r.down("exit status 0")
	r.echo()
	check(`flock_ipamd_extension_call_duration_seconds call=Say extension=echo-good result=OK 2
flock_ipamd_extension_call_duration_seconds call=Say extension=echo-good result=Unavailable 1
flock_ipamd_extension_call_duration_seconds call=Sing extension=echo-good result=Unimplemented 1
flock_ipamd_extension_restarts_total extension=echo-good 1
flock_ipamd_extension_up extension=echo-good 1
`)
	r.finish()
	if got := gather(t, registry); strings.Contains(got, "_up") || strings.Contains(got, "_restarts") {
		t.Errorf("metrics of an extension that is not run any more:\n%s", got)
	}
}

func TestMetricsOfWhatIsDown(t *testing.T) {
	metrics := NewMetrics("birdd")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics)
	remote := NewRemote(echoKind, "gone", t.TempDir(), metrics)
	want := "flock_birdd_extension_restarts_total extension=echo-gone 0\nflock_birdd_extension_up extension=echo-gone 0\n"
	if diff := cmp.Diff(want, gather(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if err := remote.Close(); err != nil {
		t.Error(err)
	}
	if got := gather(t, registry); got != "" {
		t.Errorf("metrics of a Remote that is closed:\n%s", got)
	}
}
