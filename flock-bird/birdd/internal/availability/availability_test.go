// SPDX-License-Identifier: Apache-2.0

package availability

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
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
