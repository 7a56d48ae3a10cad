// SPDX-License-Identifier: Apache-2.0

package nodefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/pool"
)

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	node, err := Read(file(t, `{"pools": ["2001:db8::/64", {"name": "v4", "cidr": "10.0.0.0/24"}],
		"defaults": {"ipv4": false, "ipAlgo": ["namespace", "pod"], "coolDown": "5m"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(node.Pools) != 2 || node.Pools[0].Name != "2001:db8::/64" || node.Pools[1].Name != "v4" {
		t.Errorf("pools %v", node.Pools)
	}
	want := annotation.Defaults{IPv4: new(false), IPAlgo: []annotation.Field{annotation.Namespace, annotation.Pod}}
	if diff := cmp.Diff(want, node.Defaults); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if node.CoolDown != 5*time.Minute {
		t.Errorf("cool-down %s", node.CoolDown)
	}
}

func TestReadLeavesOut(t *testing.T) {
	node, err := Read(file(t, `{"pools": ["2001:db8::/64"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if node.CoolDown != DefaultCoolDown || node.Defaults.IPAlgo != nil || node.Defaults.IPv4 != nil {
		t.Errorf("got %+v", node)
	}
}

func TestReadRefuses(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", ``, "decode %s: EOF: correct the file"},
		{"torn", `{"pools": [`, "decode %s: unexpected EOF: correct the file"},
		{"more than one value", `{} {}`, "decode %s: more than one JSON value: correct the file"},
		{"unknown key", `{"pool": []}`, `decode %s: unknown field "pool": correct the file`},
		{"unknown default", `{"defaults": {"ipv5": true}}`, `decode %s: unknown field "ipv5": correct the file`},
		{"unknown key of a pool", `{"pools": [{"size": 1}]}`, `decode %s: read a pool: unknown field "size": want a CIDR, or an object of name, cidr, gateway, reserved and allocator: correct the file`},
		{"overlap", `{"pools": ["10.0.0.0/8", "10.1.0.0/16"]}`, `%s: parse pool "10.1.0.0/16": its 10.1.0.0/16 overlaps 10.0.0.0/8 of pool "10.0.0.0/8": make them disjoint or remove one`},
		{"both off", `{"defaults": {"ipv6": false, "ipv4": false}}`, "%s: parse defaults: ipv6 and ipv4 are both false, which leaves pods without an address: remove one"},
		{"ipAlgo", `{"defaults": {"ipAlgo": ["node"]}}`, `%s: parse defaults.ipAlgo: "node" is no field: want a list of namespace, pod and image, separated by commas`},
		{"empty ipAlgo", `{"defaults": {"ipAlgo": []}}`, "%s: parse defaults.ipAlgo: want at least one of namespace, pod and image"},
		{"mtu too small", `{"mtu": 1279}`, "%s: parse mtu: 1279 is not between 1280 and 65535"},
		{"mtu too great", `{"mtu": 65536}`, "%s: parse mtu: 65536 is not between 1280 and 65535"},
		{"coolDown", `{"defaults": {"coolDown": "120"}}`, `%s: parse defaults.coolDown: "120" is no cool-down: write a duration such as "120s", or "0s" for none`},
		{"negative coolDown", `{"defaults": {"coolDown": "-1s"}}`, `%s: parse defaults.coolDown: "-1s" is no cool-down: write a duration such as "120s", or "0s" for none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := file(t, tt.in)
			_, err := Read(path)
			if err == nil {
				t.Fatal("no error")
			}
			want := "read the node's pools: " + strings.Replace(tt.want, "%s", path, 1)
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadAbsent(t *testing.T) {
	_, err := Read(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "node.json")
	for _, spec := range []Spec{
		{Pools: []pool.Spec{{Name: "a", CIDR: "10.0.0.0/24", Gateway: "10.0.0.9", Reserved: []string{"10.0.0.7"}}}},
		{Pools: []pool.Spec{{CIDR: "2001:db8::/64"}}, Defaults: DefaultsSpec{IPv6: new(true), CoolDown: "1s"}},
	} {
		if err := Write(path, spec); err != nil {
			t.Fatal(err)
		}
		want, _ := spec.Parse()
		got, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Pools[0].Name, got.Pools[0].Name); diff != "" || got.CoolDown != want.CoolDown {
			t.Errorf("read back %+v, wrote %+v", got, want)
		}
	}
	onlyFile(t, path)
}

// TestWriteFails holds Write to leaving the old file, and nothing else.
func TestWriteFails(t *testing.T) {
	path := file(t, "old")
	err := Write(path, Spec{Pools: []pool.Spec{{CIDR: "10.0.0.1/24"}}})
	want := "write " + path + `: parse pool "10.0.0.1/24": cidr "10.0.0.1/24" has host bits set: write 10.0.0.0/24`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("the file is now %q", got)
	}
	onlyFile(t, path)

	dir := filepath.Join(t.TempDir(), "node.json")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, Spec{}); err == nil {
		t.Error("wrote over a folder")
	}
	onlyFile(t, dir)
}

func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside %s: %v, %v", path, entries, err)
	}
}
