// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "0": true, "aZ9_.-": true, strings.Repeat("a", 300): true,
		"": false, "_a": false, ".a": false, "-a": false, "a/b": false, "a b": false, "a\n": false, "a:b": false, "ä": false, "a\xff": false,
	} {
		if got := validName(name); got != want {
			t.Errorf("validName(%q) = %t", name, got)
		}
	}
}

func TestValidIfName(t *testing.T) {
	for name, want := range map[string]bool{
		"eth0": true, "fifteen-bytes-x": true, "a.b": true, "...": true,
		"sixteen-bytes-xx": false, "ääääääää": false, ".": false, "..": false, "a/b": false, "a:b": false, "a b": false, "a\t": false, "a\u00a0": false,
	} {
		if got := validIfName(name); got != want {
			t.Errorf("validIfName(%q) = %t", name, got)
		}
	}
}

func TestParametersCheck(t *testing.T) {
	whole := parameters{command: "DEL", containerID: "c1", ifName: "eth0", path: "/bin"}
	for _, test := range []struct {
		name   string
		change func(*parameters)
		want   string
	}{
		{"whole", func(*parameters) {}, ""},
		{"no verb", func(p *parameters) { p.command = "JUMP" }, `CNI_COMMAND "JUMP" is no verb`},
		{"no container", func(p *parameters) { p.containerID = "" }, "CNI_CONTAINERID is missing for DEL"},
		{"no interface", func(p *parameters) { p.ifName = "" }, "CNI_IFNAME is missing for DEL"},
		{"no path", func(p *parameters) { p.path = "" }, "CNI_PATH is missing for DEL"},
		{"no netns", func(p *parameters) { p.command = "CHECK" }, "CNI_NETNS is missing for CHECK"},
		{"bad container", func(p *parameters) { p.containerID = "a/b" }, `CNI_CONTAINERID "a/b"`},
		{"bad interface", func(p *parameters) { p.ifName = "a/b" }, `CNI_IFNAME "a/b"`},
		{"nothing but the path", func(p *parameters) { *p = parameters{command: "GC", path: "/bin"} }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := whole
			test.change(&p)
			err := p.check()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
