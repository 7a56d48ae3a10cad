// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

// TestBounded holds to what the API server takes, as the CustomResourceDefinition says it.
func TestBounded(t *testing.T) {
	crd, err := os.ReadFile("../../../../deploy/base/nodeconfigs.flock.fritzlab.net.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, anycast, _ := strings.Cut(string(crd), "Anycast are the anycast addresses of the node's pods.")
	anycast, _, _ = strings.Cut(anycast, "x-kubernetes-list-map-keys:")
	if !strings.Contains(anycast, fmt.Sprintf("maxItems: %d\n", maxAnycast)) || !strings.Contains(anycast, fmt.Sprintf("maxItems: %d\n", maxPods)) {
		t.Errorf("the CRD has other limits:\n%s", anycast)
	}
	all := make([]v1alpha1.AnycastStatus, maxAnycast+1)
	all[0].Pods, all[1].Pods = make([]string, maxPods+1), make([]string, 1)
	all = bounded(all)
	if len(all) != maxAnycast || len(all[0].Pods) != maxPods || len(all[1].Pods) != 1 {
		t.Errorf("there are %d addresses, with %d and %d pods", len(all), len(all[0].Pods), len(all[1].Pods))
	}
}

func TestKeepSince(t *testing.T) {
	start := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	peer := func(state string, since time.Duration) v1alpha1.PeerStatus {
		return v1alpha1.PeerStatus{Name: "tor", State: state, Since: &metav1.Time{Time: start.Add(since)}}
	}
	for _, test := range []struct {
		name        string
		before, now v1alpha1.PeerStatus
		want        time.Duration
	}{
		{"reckoned anew", peer("Established", 0), peer("Established", time.Second), 0},
		{"and back", peer("Established", time.Second), peer("Established", 0), time.Second},
		{"another session", peer("Established", 0), peer("Established", 2*time.Second), 2 * time.Second},
		{"another state", peer("Active", 0), peer("Established", time.Second), time.Second},
		{"nothing before", v1alpha1.PeerStatus{Name: "tor", State: "Active"}, peer("Active", time.Second), time.Second},
	} {
		now := []v1alpha1.PeerStatus{test.now}
		keepSince(now, []v1alpha1.PeerStatus{{Name: "other", State: test.now.State, Since: test.now.Since}, test.before})
		if got := now[0].Since.Sub(start); got != test.want {
			t.Errorf("%s: since %s, want %s", test.name, got, test.want)
		}
	}
}
