// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/plugins/cni"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, own, ipam, ipamType string
		wantMTU                   int
		wantIPAM                  string
		wantErr                   string
	}{
		{name: "empty"},
		{name: "state directory", own: `{"stateDir":"/run/flock"}`},
		{name: "least MTU", own: `{"mtu":1280}`, wantMTU: 1280},
		{name: "greatest MTU", own: `{"mtu":65535}`, wantMTU: 65535},
		{name: "MTU too small", own: `{"mtu":1279}`, wantErr: `key "mtu": 1279 is not between 1280, which IPv6 needs, and 65535`},
		{name: "MTU too great", own: `{"mtu":65536}`, wantErr: `key "mtu": 65536`},
		{name: "MTU zero is no automatic one", own: `{"mtu":0}`, wantErr: `key "mtu": 0`},
		{name: "MTU negative", own: `{"mtu":-1}`, wantErr: `key "mtu": -1`},
		{name: "MTU in words", own: `{"mtu":"big"}`, wantErr: "mtu"},
		{name: "unknown key", own: `{"mtus":1500}`, wantErr: `unknown key "mtus"`},
		{name: "ipam", ipam: `{"type":"host-local","subnet":"10.0.0.0/8"}`, ipamType: "host-local", wantIPAM: "host-local"},
		{name: "ipam empty", ipam: `{}`},
		{name: "ipam without a type", ipam: `{"subnet":"10.0.0.0/8"}`, wantErr: `key "ipam": it has no type`},
		{name: "ipam a list", ipam: `[]`, wantErr: `key "ipam"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := cni.Input{Own: json.RawMessage(test.own), IPAM: json.RawMessage(test.ipam), IPAMType: test.ipamType}
			c, err := parse(in)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("parse = %v, want an error with %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.mtu != test.wantMTU {
				t.Errorf("mtu = %d, want %d", c.mtu, test.wantMTU)
			}
			if got := ipamType(c); got != test.wantIPAM {
				t.Errorf("ipam = %q, want %q", got, test.wantIPAM)
			}
		})
	}
}

func ipamType(c config) string {
	if c.ipam == nil {
		return ""
	}
	return c.ipam.Type
}
