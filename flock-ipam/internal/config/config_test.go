// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/plugins/cni"
)

// originating and delegated are requests as the frame decodes them.
func originating(own string) cni.Input { return cni.Input{Type: Name, Own: []byte(own)} }

func delegated(main, own, ipam string) cni.Input {
	return cni.Input{Type: main, Own: []byte(own), IPAMType: Name, IPAM: []byte(`{"type": "flock-ipam"` + ipam + `}`)}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		in   cni.Input
		want string
	}{
		{"defaults", originating(`{}`), "originating /run/flock /run/flock/ipamd.sock"},
		{"paths", originating(`{"stateDir": "/a", "socket": "/b", "nodeFile": "/c"}`), "originating /a /b"},
		{"delegated paths", delegated("macvlan", `{"master": "eth0"}`, `, "stateDir": "/a"`), "onlink /a /run/flock/ipamd.sock"},
		{"ipvlan", delegated("ipvlan", `{}`, ``), "onlink /run/flock /run/flock/ipamd.sock"},
		{"flock-veth", delegated("flock-veth", `{}`, ``), "onlink /run/flock /run/flock/ipamd.sock"},
		{"bridge", delegated("bridge", `{"bridge": "br0"}`, ``), "onlink /run/flock /run/flock/ipamd.sock"},
		{"bridge that is a gateway", delegated("bridge", `{"isGateway": true}`, ``), "subnet /run/flock /run/flock/ipamd.sock"},
		{"bridge that is the default gateway", delegated("bridge", `{"isDefaultGateway": true}`, ``), "subnet /run/flock /run/flock/ipamd.sock"},
		{"ptp", delegated("ptp", `{}`, ``), "subnet /run/flock /run/flock/ipamd.sock"},
		{"a stranger", delegated("vlan", `{}`, ``), "subnet /run/flock /run/flock/ipamd.sock"},
		{"profile", delegated("ptp", `{}`, `, "profile": "onlink"`), "onlink /run/flock /run/flock/ipamd.sock"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, fmt.Sprint(c.Form, " ", c.StateDir, " ", c.Socket)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := tt.in.Type != Name; c.Delegated() != want {
				t.Errorf("Delegated = %v", c.Delegated())
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   cni.Input
		want string
	}{
		{"unknown key", originating(`{"pool": []}`), `unknown key "pool": remove it or correct its spelling`},
		{"unknown key of a pool", originating(`{"pools": [{"cird": "10.0.0.0/8"}]}`), `read a pool: unknown field "cird": want a CIDR, or an object of name, cidr, gateway, reserved and allocator`},
		{"delegated unknown key", delegated("ptp", `{"anything": 1}`, `, "routes": []`), `ipam section: unknown key "routes": remove it or correct its spelling`},
		{"unknown profile", delegated("ptp", `{}`, `, "profile": "originating"`), `ipam section: profile "originating": want "onlink" or "subnet"`},
		{"profile without a main plugin", originating(`{"profile": "onlink"}`), `profile is set, which is for the ipam section of a main plugin: remove it`},
		{"ipam section of its own", cni.Input{Type: Name, IPAM: []byte(`{}`)}, `it has an ipam section, which a main plugin has: put the keys beside the type`},
		{"neither place", cni.Input{Type: "ptp", IPAMType: "host-local"}, `"ptp" is the plugin's type, and "host-local" that of its ipam: want flock-ipam in one of the two places`},
		{"relative path", originating(`{"stateDir": "run"}`), `stateDir "run" is no absolute path`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.in)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff("read the configuration of flock-ipam: "+tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func nodeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNode(t *testing.T) {
	file := nodeFile(t, `{"pools": ["10.1.0.0/24"], "defaults": {"coolDown": "1s", "ipAlgo": ["pod"]}}`)
	tests := []struct{ name, own, want string }{
		{"the node's file", `{"nodeFile": "` + file + `"}`, "10.1.0.0/24 1s [pod]"},
		{"the configuration alone", `{"pools": ["10.2.0.0/24", "2001:db8::/64"]}`, "10.2.0.0/24 2001:db8::/64 2m0s []"},
		{"both", `{"pools": ["10.2.0.0/24"], "nodeFile": "` + file + `"}`, "10.2.0.0/24 1s [pod]"},
		{"overridden", `{"nodeFile": "` + file + `", "coolDown": "0s", "ipAlgo": ["namespace", "image"]}`, "10.1.0.0/24 0s [namespace image]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(originating(tt.own))
			if err != nil {
				t.Fatal(err)
			}
			node, err := c.Node()
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, p := range node.Pools {
				got.WriteString(p.Name + " ")
			}
			fmt.Fprint(&got, node.CoolDown, " ", node.Defaults.IPAlgo)
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNodeRefuses(t *testing.T) {
	tests := []struct{ name, own, want string }{
		{"no pools", `{"pools": []}`, `pools is empty: add one, or remove the key to use those of the node`},
		{"overlap", `{"pools": ["10.0.0.0/8", "10.1.0.0/16"]}`, `parse pool "10.1.0.0/16": its 10.1.0.0/16 overlaps 10.0.0.0/8 of pool "10.0.0.0/8": make them disjoint or remove one`},
		{"IPv4-mapped", `{"pools": ["::ffff:10.0.0.0/104"]}`, `parse pool "::ffff:10.0.0.0/104": cidr "::ffff:10.0.0.0/104" is IPv4-mapped IPv6: write it as IPv4`},
		{"extension", `{"pools": [{"name": "a", "cidr": "10.0.0.0/8", "allocator": "random"}, {"name": "b", "cidr": "fd00::/64", "allocator": "sticky"}]}`,
			`pool b: allocator "sticky" is an extension, and ipamd serves only the pools of the node: put the pool there, or write random or sequential`},
		{"ipAlgo", `{"pools": ["10.0.0.0/8"], "ipAlgo": ["node"]}`, `ipAlgo: "node" is no field: want a list of namespace, pod and image, separated by commas`},
		{"coolDown", `{"pools": ["10.0.0.0/8"], "coolDown": "soon"}`, `coolDown: "soon" is no cool-down: write a duration such as "120s", or "0s" for none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(originating(tt.own))
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Node()
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff("read the configuration of flock-ipam: "+tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNodeFileMissing(t *testing.T) {
	c, err := Parse(originating(`{"nodeFile": "` + filepath.Join(t.TempDir(), "none") + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Node(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}
