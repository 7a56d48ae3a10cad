// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSessions(t *testing.T) {
	up, down := PeerStatus{State: PeerEstablished}, PeerStatus{State: "Active"}
	for _, test := range []struct {
		peers []PeerStatus
		want  string
	}{
		{nil, ""}, {[]PeerStatus{up}, "1/1"}, {[]PeerStatus{down, up, {State: PeerAbsent}}, "1/3"},
	} {
		if got := Sessions(test.peers); got != test.want {
			t.Errorf("Sessions(%v) = %q, want %q", test.peers, got, test.want)
		}
	}
}

func TestUsage(t *testing.T) {
	big := PoolStatus{CIDR: "2001:db8:1::/64", Allocated: 12, Cooling: 1, Free: 1 << 62}
	for _, test := range []struct {
		name       string
		pools      []PoolStatus
		ipv6, ipv4 string
	}{
		{"none", nil, "", ""},
		{"both families", []PoolStatus{big, {CIDR: "192.0.2.0/24", Allocated: 12, Cooling: 3, Free: 238}}, "12/2^64", "12/253"},
		{"pools add up", []PoolStatus{{CIDR: "192.0.2.0/26", Allocated: 60}, {CIDR: "192.0.2.64/26", Allocated: 1, Free: 59}}, "", "61/120"},
		{"large pools add up", []PoolStatus{big, big}, "24/2^65", ""},
		{"not quite as large", []PoolStatus{{CIDR: "2001:db8::/104", Free: 1<<24 - 2}}, "0/2^23", ""},
		{"no CIDR", []PoolStatus{{CIDR: "x", Free: 1}}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if ipv6, ipv4 := Usage(test.pools); ipv6 != test.ipv6 || ipv4 != test.ipv4 {
				t.Errorf("Usage() = %q, %q, want %q, %q", ipv6, ipv4, test.ipv6, test.ipv4)
			}
		})
	}
}

func TestReady(t *testing.T) {
	pools := func(s metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: ConditionPoolsReady, Status: s, Reason: "P", Message: "p"}
	}
	announced := func(s metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: ConditionAnnounced, Status: s, Reason: "A", Message: "a"}
	}
	for _, test := range []struct {
		name                    string
		pools, announced        metav1.ConditionStatus
		status, reason, message string
	}{
		{"all true", "True", "True", "True", "EverythingTrue", "the node is well"},
		{"first false", "False", "False", "False", "P", "PoolsReady: p"},
		{"false before unknown", "Unknown", "False", "False", "A", "Announced: a"},
		{"unknown", "True", "Unknown", "False", "A", "Announced: a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Ready(pools(test.pools), announced(test.announced))
			want := metav1.Condition{Type: "Ready", Status: metav1.ConditionStatus(test.status), Reason: test.reason, Message: test.message}
			if got != want {
				t.Errorf("Ready() = %+v, want %+v", got, want)
			}
		})
	}
}
