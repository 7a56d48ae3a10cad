// SPDX-License-Identifier: Apache-2.0

package availability

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/test/apiserver"
)

func TestDecide(t *testing.T) {
	const unknown, unavailable, available = corev1.ConditionStatus(""), corev1.ConditionTrue, corev1.ConditionFalse
	for _, test := range []struct {
		name                string
		is                  corev1.ConditionStatus
		reachable, patience bool
		want                corev1.ConditionStatus
	}{
		{"a new node that announces", unknown, true, false, available},
		{"a new node that does not", unknown, false, false, unavailable},
		{"begins to announce", unavailable, true, false, available},
		{"does not begin to", unavailable, false, true, unavailable},
		{"stops for a moment", available, false, false, available},
		{"stops for good", available, false, true, unavailable},
		{"goes on", available, true, false, available},
	} {
		if got := decide(test.is, test.reachable, test.patience); got != test.want {
			t.Errorf("%s: decide() = %q, want %q", test.name, got, test.want)
		}
	}
}

// TestOthersWrite has somebody else write the condition, as another network plugin does that is taken down: it is
// found within a minute, and in between the API server is not asked.
func TestOthersWrite(t *testing.T) {
	s := apiserver.Start(t)
	for _, test := range []struct {
		name      string
		reachable bool
		meanwhile string // the condition, as a patch
		want      string
	}{
		{"unavailable", true, `"status": "True", "reason": "CalicoIsDown"`, "False FlockAnnounces"},
		{"available", false, `"status": "False", "reason": "RouteCreated"`, "True FlockDoesNotAnnounce"},
		{"gone", true, `"$patch": "delete"`, "False FlockAnnounces"},
		{"as it is, in other words", true, `"status": "False", "reason": "CalicoIsUp"`, "False CalicoIsUp"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := node{t, s.MakeNode(t, "availability").Name, connect(t, s)}
			k := New(n.client, n.name, 0, nil)
			k.Set(test.reachable, "")
			n.keep(k, true)
			before := n.condition()
			n.patch(`{"status": {"conditions": [{"type": "NetworkUnavailable", ` + test.meanwhile + `}]}}`)
			other := n.condition()
			n.keep(k, false)
			if got := n.condition(); got != other {
				t.Errorf("the condition is %q at once, want %q", got, other)
			}
			k.looked = time.Now().Add(-time.Minute)
			n.keep(k, true)
			if got := n.condition(); got != test.want {
				t.Errorf("the condition was %q, then %q, and is %q after a minute, want %q", before, other, got, test.want)
			}
			n.keep(k, false)
		})
	}
}

// node is one of the API server's.
type node struct {
	*testing.T
	name   string
	client *kube.Client
}

func connect(t *testing.T, s *apiserver.Server) *kube.Client {
	t.Helper()
	client, err := kube.Connect(s.Kubeconfig(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// keep has the keeper do what it does every few seconds.
func (n node) keep(k *Keeper, want bool) {
	n.Helper()
	if asked, err := k.keep(n.Context()); asked != want || err != nil {
		n.Errorf("keep() = %t, %v, want %t", asked, err, want)
	}
}

// condition returns the status and the reason of the Node's NetworkUnavailable.
func (n node) condition() string {
	n.Helper()
	object, err := n.client.Nodes().Get(n.Context(), n.name, metav1.GetOptions{})
	if err != nil {
		n.Fatal(err)
	}
	for _, c := range object.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable {
			return string(c.Status) + " " + c.Reason
		}
	}
	return ""
}

func (n node) patch(patch string) {
	n.Helper()
	if _, err := n.client.Nodes().Patch(n.Context(), n.name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		n.Fatal(err)
	}
}
