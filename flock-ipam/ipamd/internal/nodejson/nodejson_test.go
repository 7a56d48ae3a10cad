// SPDX-License-Identifier: Apache-2.0

package nodejson

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

// of returns a NodeConfig with this below "spec:".
func of(t *testing.T, spec string) *v1alpha1.NodeConfig {
	t.Helper()
	text := "apiVersion: flock.fritzlab.net/v1alpha1\nkind: NodeConfig\nmetadata: {name: node1}\nspec:\n"
	for line := range strings.Lines(spec) {
		text += "  " + line
	}
	config, err := v1alpha1.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

const whole = `pools:
- {name: v6, cidr: "2001:db8:1::/64"}
- {name: v4, cidr: 192.0.2.0/26, gateway: 192.0.2.9, reserved: [192.0.2.10-192.0.2.20]}
defaults: {ipv4: false, ipAlgo: [namespace, pod], coolDown: 5m}
mtu: 1400
`

const written = `{
  "pools": [
    {
      "name": "v6",
      "cidr": "2001:db8:1::/64"
    },
    {
      "name": "v4",
      "cidr": "192.0.2.0/26",
      "gateway": "192.0.2.9",
      "reserved": [
        "192.0.2.10-192.0.2.20"
      ]
    }
  ],
  "defaults": {
    "ipv4": false,
    "ipAlgo": [
      "namespace",
      "pod"
    ],
    "coolDown": "5m0s"
  },
  "mtu": 1400
}
`

func TestKeep(t *testing.T) {
	for _, test := range []struct {
		name   string
		before string // content of the file, none when empty
		config string
		wrote  bool
		want   string
		err    string
	}{
		{name: "no file yet", config: whole, wrote: true, want: written},
		{name: "the same already", before: written, config: whole, want: written},
		{name: "the same in other words", before: strings.ReplaceAll(written, " ", "\t"), config: whole, want: strings.ReplaceAll(written, " ", "\t")},
		{name: "other content", before: `{"pools": ["10.0.0.0/24"]}`, config: whole, wrote: true, want: written},
		{name: "spoilt by hand", before: "{", config: whole, wrote: true, want: written},
		{name: "pools that overlap", before: written, config: "pools: [{name: a, cidr: 10.0.0.0/24}, {name: b, cidr: 10.0.0.0/25}]\n",
			want: written, err: "node1"},
		{name: "no family left", before: written, config: "defaults: {ipv4: false, ipv6: false}\n", want: written, err: "ipv6"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lib", "node.json")
			if test.before != "" {
				if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(test.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			wrote, err := Keep(path, of(t, test.config))
			if wrote != test.wrote || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("Keep() = %v, %v; want %v and an error with %q", wrote, err, test.wrote, test.err)
			}
			got, err := os.ReadFile(path)
			if diff := cmp.Diff(test.want, string(got)); diff != "" || err != nil {
				t.Errorf("node.json (-want +got): %v\n%s", err, diff)
			}
		})
	}
}

// TestKeepDoesNotTouch: flock-ipam's readers of an unchanged file never see another one.
func TestKeepDoesNotTouch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.json")
	if _, err := Keep(path, of(t, whole)); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := Keep(path, of(t, whole)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(long) {
		t.Errorf("the file was written again: %v, %v", info, err)
	}
}
