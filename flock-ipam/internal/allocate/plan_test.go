// SPDX-License-Identifier: Apache-2.0

package allocate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/plugins/cni"
)

// draw shows a plan on one line.
func draw(p Plan) string {
	var parts []string
	for _, f := range p.families {
		if f.fixed != nil {
			parts = append(parts, fmt.Sprintf("%s: %s", f.Family, f.fixed))
		} else {
			parts = append(parts, fmt.Sprintf("%s: from %s", f.Family, list(f.sources)))
		}
	}
	if p.anycast != nil {
		parts = append(parts, fmt.Sprintf("anycast: %s", p.anycast))
	}
	return strings.Join(parts, "; ")
}

const dual = `["2001:db8::/64", "10.0.0.0/24"]`

func TestNewPlan(t *testing.T) {
	web := cni.Pod{Namespace: "default", Name: "web-0"}
	tests := []struct {
		name     string
		pools    string
		defaults annotation.Defaults
		pod      []string
		wish     Wish
		want     string
	}{
		{name: "dual", pools: dual, want: "IPv6: from pool 2001:db8::/64; IPv4: from pool 10.0.0.0/24"},
		{name: "one family", pools: `["10.0.0.0/24"]`, want: "IPv4: from pool 10.0.0.0/24"},
		{name: "switched off", pools: dual, pod: []string{"ipv4=false"}, want: "IPv6: from pool 2001:db8::/64"},
		{name: "off by default", pools: dual, defaults: annotation.Defaults{IPv6: new(false)}, want: "IPv4: from pool 10.0.0.0/24"},
		{name: "on again", pools: dual, defaults: annotation.Defaults{IPv6: new(false)}, pod: []string{"ipv6=true"},
			want: "IPv6: from pool 2001:db8::/64; IPv4: from pool 10.0.0.0/24"},
		{name: "ip-algo", pools: dual, pod: []string{"ip-algo=namespace,pod"}, wish: Wish{Pod: web},
			want: "IPv6: from 2001:db8::ebad:a566:6fc1:0/112 of pool 2001:db8::/64; IPv4: from pool 10.0.0.0/24"},
		{name: "ip-algo by default", pools: dual, defaults: annotation.Defaults{IPAlgo: []annotation.Field{"namespace"}}, wish: Wish{Pod: web},
			want: "IPv6: from 2001:db8::ebad:a516:8620:0/112 of pool 2001:db8::/64; IPv4: from pool 10.0.0.0/24"},
		{name: "ip-algo in a CIDR", pools: dual, pod: []string{"ip-algo=namespace", "cidr6=2001:db8::8000:0:0:0/80", "ipv4=false"}, wish: Wish{Pod: web},
			want: "IPv6: from 2001:db8::8000:ebad:a516:0/112 of pool 2001:db8::/64"},
		{name: "ip-algo without a pod", pools: dual, pod: []string{"ip-algo=namespace,image"}, wish: Wish{Image: "default"},
			want: "IPv6: from 2001:db8::ebad:a516:8620:0/112 of pool 2001:db8::/64; IPv4: from pool 10.0.0.0/24"},
		{name: "fixed without a pool", pools: `["2001:db8::/64"]`, pod: []string{"addresses=192.0.2.7"},
			want: "IPv6: from pool 2001:db8::/64; IPv4: [192.0.2.7]"},
		{name: "fixed without any pool", pools: `[]`, pod: []string{"addresses=192.0.2.7"}, want: "IPv4: [192.0.2.7]"},
		{name: "fixed by the runtime", pools: dual, wish: Wish{Fixed: []string{"10.0.0.7"}}, want: "IPv6: from pool 2001:db8::/64; IPv4: [10.0.0.7]"},
		{name: "fixed switches on", pools: dual, defaults: annotation.Defaults{IPv4: new(false)}, pod: []string{"addresses=10.0.0.7"},
			want: "IPv6: from pool 2001:db8::/64; IPv4: [10.0.0.7]"},
		{name: "anycast beside a fixed address", pools: `[]`, pod: []string{"addresses=192.0.2.7", "anycast=192.0.2.1"},
			want: "IPv4: [192.0.2.7]; anycast: [192.0.2.1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wish := tt.wish
			wish.Node = nodefile.Node{Pools: parsePools(t, tt.pools), Defaults: tt.defaults}
			wish.Annotations = annotationsOf(tt.pod)
			plan, err := NewPlan(wish)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, draw(plan)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewPlanRefuses(t *testing.T) {
	const prefix = "flock.fritzlab.net/"
	noDefault := annotation.Defaults{IPv6: new(true)}
	tests := []struct {
		name     string
		pools    string
		defaults annotation.Defaults
		pod      []string
		wish     Wish
		noPool   bool
		want     string
	}{
		{name: "no pool at all", pools: `[]`, noPool: true, want: "allocate an address: no pool is left: the node has none"},
		{name: "asked for without a pool", pools: `["10.0.0.0/24"]`, pod: []string{"ipv6=true"}, noPool: true,
			want: `read annotation "` + prefix + `ipv6" with value "true": no pool of the node has IPv6`},
		{name: "CIDR without a pool", pools: `["10.0.0.0/24"]`, pod: []string{"cidr6=2001:db8::/64"}, noPool: true,
			want: `read annotation "` + prefix + `cidr6" with value "2001:db8::/64": no pool of the node has IPv6`},
		{name: "default without a pool", pools: `["10.0.0.0/24"]`, defaults: noDefault, noPool: true,
			want: `allocate IPv6, which the node's defaults ask for: no pool of the node has IPv6`},
		{name: "only the other family is left", pools: `["2001:db8::/64"]`, pod: []string{"ipv6=false"},
			want: `read annotation "` + prefix + `ipv6" with value "false": leaves the pod without an address: the node gives IPv6 alone`},
		{name: "what is left is off by default", pools: dual, defaults: annotation.Defaults{IPv4: new(false)}, pod: []string{"ipv6=false"},
			want: `read annotation "` + prefix + `ipv6" with value "false": leaves the pod without an address: the node gives IPv6 alone`},
		{name: "off by default and no pool", pools: `["10.0.0.0/24"]`, defaults: annotation.Defaults{IPv4: new(false)}, noPool: true,
			want: "allocate an address: no pool is left: the node has 10.0.0.0/24 (10.0.0.0/24)"},
		{name: "CIDR outside", pools: dual, pod: []string{"cidr4=10.0.1.0/28"},
			want: `read annotation "` + prefix + `cidr4" with value "10.0.1.0/28": lies in none of the node's pools: 10.0.0.0/24 (10.0.0.0/24)`},
		{name: "CIDR larger than the pool", pools: dual, pod: []string{"cidr4=10.0.0.0/23"},
			want: `read annotation "` + prefix + `cidr4" with value "10.0.0.0/23": lies in none of the node's pools: 10.0.0.0/24 (10.0.0.0/24)`},
		{name: "delegated anycast", pools: dual, pod: []string{"anycast=192.0.2.1"}, wish: Wish{Delegated: true},
			want: `read annotation "` + prefix + `anycast" with value "192.0.2.1": anycast needs flock-ipam first in the chain; under another plugin's ipam there is no place for it`},
		{name: "anycast without unicast", pools: `["10.0.0.0/24"]`, pod: []string{"anycast=2001:db8::1"},
			want: `read annotation "` + prefix + `anycast" with value "2001:db8::1": 2001:db8::1 needs a unicast IPv6 address beside it, and the pod gets none`},
		{name: "fixed outside without a gateway", pools: dual, pod: []string{"addresses=192.0.2.1"}, wish: Wish{Gateway: true},
			want: `read annotation "` + prefix + `addresses" with value "192.0.2.1": 192.0.2.1 lies in no pool, and so has no gateway, which profile subnet needs`},
		{name: "pool without a gateway", pools: `["10.0.0.0/31"]`, wish: Wish{Gateway: true}, noPool: true,
			want: "use pool 10.0.0.0/31: it has no gateway, which profile subnet needs: no pool with one"},
		{name: "fixed in a pool without a gateway", pools: `["10.0.0.0/31"]`, pod: []string{"addresses=10.0.0.1"}, wish: Wish{Gateway: true}, noPool: true,
			want: "use pool 10.0.0.0/31: it has no gateway, which profile subnet needs: no pool with one"},
		{name: "annotation", pools: dual, pod: []string{"ipv6=1"},
			want: `read annotation "` + prefix + `ipv6" with value "1": want "true" or "false"`},
		{name: "fixed by the runtime and reserved", pools: dual, wish: Wish{Fixed: []string{"10.0.0.1"}},
			want: `read annotation "` + prefix + `addresses" with value "10.0.0.1": 10.0.0.1 is reserved in pool 10.0.0.0/24`},
		{name: "fixed by the runtime and malformed", pools: dual, wish: Wish{Fixed: []string{"10.0.0"}},
			want: `honour the capability ips: read annotation "` + prefix + `addresses" with value "10.0.0": "10.0.0" is no address: write one such as 2001:db8::10 or 192.0.2.10`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wish := tt.wish
			wish.Node = nodefile.Node{Pools: parsePools(t, tt.pools), Defaults: tt.defaults}
			wish.Annotations = annotationsOf(tt.pod)
			plan, err := NewPlan(wish)
			if err == nil {
				t.Fatalf("plan %s", draw(plan))
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			bad := (*annotation.Error)(nil)
			if errors.Is(err, ErrNoPool) != tt.noPool || !tt.noPool && !errors.As(err, &bad) {
				t.Errorf("%#v wraps neither ErrNoPool nor an annotation's error as it should", err)
			}
		})
	}
}

func TestNeedsImage(t *testing.T) {
	for annotations, want := range map[string]bool{"ip-algo=pod,image": true, "ip-algo=pod": false, "ip-algo=broken": false, "ipv4=true": false} {
		if got := NeedsImage(Wish{Annotations: annotationsOf([]string{annotations})}); got != want {
			t.Errorf("NeedsImage(%s) = %v", annotations, got)
		}
	}
	node := nodefile.Node{Defaults: annotation.Defaults{IPAlgo: []annotation.Field{annotation.Image}}}
	if !NeedsImage(Wish{Node: node}) {
		t.Error("NeedsImage does not see the node's default")
	}
}
