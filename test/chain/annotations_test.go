// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"net/netip"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// TestAnnotations sends all seven through the whole chain. A want is an address or a prefix for each of
// the pod's addresses, in order.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	tests := []struct {
		key, value string
		want       string
	}{
		{"ipv4", "true", "2001:db8:1::/64 10.244.1.0/24"},
		{"ipv6", "false", "10.244.1.0/24"},
		{"ipv4", "false", "2001:db8:1::/64"},
		{"cidr6", "2001:db8:1:0:c::/80", "2001:db8:1:0:c::/80 10.244.1.0/24"},
		{"cidr4", "10.244.1.192/26", "2001:db8:1::/64 10.244.1.192/26"},
		{"addresses", fixed6, fixed6 + " 10.244.1.0/24"},
		{"addresses", fixed4 + "," + fixed6, fixed6 + " " + fixed4},
		{"anycast", anycast6 + "," + anycast4, "2001:db8:1::/64 10.244.1.0/24 " + anycast6 + " " + anycast4},
		{"ip-algo", "namespace,pod", "2001:db8:1::/64 10.244.1.0/24"},
	}
	before := state(t, node)
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			pod := attach(t, node, "annotated", map[string]string{prefix + tt.key: tt.value})
			wantAddresses(t, pod, strings.Fields(tt.want))
			for _, a := range pod.Addresses() {
				if _, err := node.Ping(t.Context(), a, lab.PingOptions{}); err != nil {
					t.Error(err)
				}
			}
			check(t, node.Runtime.Check(t.Context(), pod))
			detach(t, node, pod)
			check(t, pod.Delete())
			wantUnchanged(t, node, before)
		})
	}
}

func wantAddresses(t *testing.T, p *lab.Pod, want []string) {
	t.Helper()
	have := p.Addresses()
	if len(have) != len(want) {
		t.Fatalf("the pod has %v, want %v", have, want)
	}
	for i, text := range want {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			prefix = cni.HostPrefix(netip.MustParseAddr(text))
		}
		if !prefix.Contains(have[i]) {
			t.Errorf("address %d is %s, want %s", i, have[i], text)
		}
	}
}

// TestIPAlgoShowsTheIdentity wants equal hash nibbles of pods with an equal name, and others of another.
func TestIPAlgoShowsTheIdentity(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	annotations := map[string]string{prefix + "ip-algo": "namespace,pod"}
	identity := func(netns, name string) string {
		pod := newPod(t, node, netns, annotations)
		pod.Pod.Name = name
		check(t, node.Runtime.Add(t.Context(), pod))
		// The last four nibbles are random.
		text := pod.Address6().StringExpanded()
		return text[:strings.LastIndex(text, ":")]
	}
	web1, web2, other := identity("web1", "web"), identity("web2", "web"), identity("other", "other")
	if web1 != web2 {
		t.Errorf("two pods of one name got %s and %s", web1, web2)
	}
	if web1 == other {
		t.Errorf("pods of different names both got %s", web1)
	}
}

// TestBadAnnotations wants a code and the offending value, and nothing left.
func TestBadAnnotations(t *testing.T) {
	t.Parallel()
	node := newSingle(t, lab.Options{})
	holder := attach(t, node, "holder", fixed)
	before := state(t, node)
	tests := []struct {
		key, value string
		code       uint
	}{
		{"ipv6", "maybe", cni.CodeBadAnnotation},
		{"cidr6", "2001:db8:99::/80", cni.CodeBadAnnotation},
		{"cidr4", "10.244.1.0/24\n}", cni.CodeBadAnnotation},
		{"ip-algo", "name", cni.CodeBadAnnotation},
		{"addresses", "::ffff:10.0.0.1", cni.CodeBadAnnotation},
		{"addresses", fixed6, cni.CodeAddressTaken},
		{"anycast", "fe80::1%eth0", cni.CodeBadAnnotation},
		{"anycast", "{", cni.CodeBadAnnotation},
	}
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			pod := newPod(t, node, "bad", map[string]string{prefix + tt.key: tt.value})
			err := node.Runtime.Add(t.Context(), pod)
			if lab.Code(err) != tt.code {
				t.Errorf("ADD = %v (code %d), want code %d", err, lab.Code(err), tt.code)
			}
			check(t, node.Runtime.Del(t.Context(), pod))
			check(t, pod.Delete())
			wantUnchanged(t, node, before)
		})
	}
	wantPings(t, []*lab.Netns{node.Netns}, holder)
}
