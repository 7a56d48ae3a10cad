// SPDX-License-Identifier: Apache-2.0

package nodejson

import (
	"os"
	"path/filepath"
	"testing"

	"flock.fritzlab.net/flock/internal/nodefile"
)

func TestKeepPodCIDRs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib", "node.json")
	cidrs := []string{"10.244.1.0/24", "2001:db8:1::/64"}
	for _, want := range []bool{true, false} {
		if wrote, err := KeepPodCIDRs(path, cidrs); wrote != want || err != nil {
			t.Errorf("KeepPodCIDRs() = %v, %v; want %v", wrote, err, want)
		}
	}
	node, err := nodefile.Read(path)
	if err != nil || len(node.Pools) != 2 || node.Pools[0].Name != "podCIDR-10.244.1.0/24" || node.Pools[1].Prefix.String() != cidrs[1] {
		t.Errorf("pools %v, %v", node.Pools, err)
	}
	if _, err := KeepPodCIDRs(path, []string{"10.244.1.7/24"}); err == nil {
		t.Error("a podCIDR with host bits is taken")
	}
	if got := OriginOf(path); got != PodCIDRs {
		t.Errorf("after an error the file's origin is %v", got)
	}
}

func TestOriginOf(t *testing.T) {
	const cidrs = `{"pools": [{"name": "podCIDR-10.244.1.0/24", "cidr": "10.244.1.0/24"}]`
	for _, test := range []struct {
		name, content string
		want          Origin
	}{
		{"none", "", Absent},
		{"podCIDRs", cidrs + "}", PodCIDRs},
		{"other name", `{"pools": [{"name": "default4", "cidr": "10.244.1.0/24"}]}`, Given},
		{"one more pool", `{"pools": [{"name": "podCIDR-10.244.1.0/24", "cidr": "10.244.1.0/24"}, "2001:db8::/64"]}`, Given},
		{"defaults", cidrs + `, "defaults": {"coolDown": "5m"}}`, Given},
		{"mtu", cidrs + `, "mtu": 1400}`, Given},
		{"no pools", `{"pools": []}`, Given},
		{"spoilt", "{", Given},
	} {
		path := filepath.Join(t.TempDir(), "node.json")
		if test.content != "" {
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := OriginOf(path); got != test.want {
			t.Errorf("%s: origin %v, want %v", test.name, got, test.want)
		}
	}
}
