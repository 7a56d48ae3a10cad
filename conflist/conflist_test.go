// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/pool"
)

var update = flag.Bool("update", false, "write the golden files")

func pools(cidrs ...string) []pool.Spec {
	var specs []pool.Spec
	for _, cidr := range cidrs {
		specs = append(specs, pool.Spec{CIDR: cidr})
	}
	return specs
}

// lists are the options of each golden file, testdata/<name>.conflist.
var lists = map[string]Options{
	"default": {},
	"every-option": {
		Stages:   Stages,
		StateDir: "/run/other",
		IPAM: IPAM{
			Pools:    pools("fd00:1::/64", "10.1.0.0/24"),
			NodeFile: "/etc/flock/node.json",
			Socket:   "/run/other/ipamd.sock",
			CoolDown: "5m",
			IPAlgo:   []string{"namespace", "pod"},
		},
		Veth:  Veth{MTU: 1400},
		Route: Route{Metric: 24},
		Bird:  Bird{Table: 99, Anycast: "immediate"},
	},
	"no-bgp": {Stages: Stages[:3], IPAM: IPAM{Pools: pools("fd00:1::/64")}},
	"chained": {Chained: []string{
		"portmap", "bandwidth", "tuning", `{"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}`,
	}},
}

func render(t *testing.T, o Options) []byte {
	t.Helper()
	list, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := list.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestGolden(t *testing.T) {
	for name, o := range lists {
		t.Run(name, func(t *testing.T) {
			got := render(t, o)
			path := filepath.Join("testdata", name+".conflist")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("conflist (-want +got), -update writes it:\n%s", diff)
			}
		})
	}
}

// summary prints what a libcni makes of a list, as testdata/libcni-1.1 does.
func summary(list *libcni.NetworkConfigList) string {
	var b strings.Builder
	fmt.Fprintln(&b, list.Name, list.CNIVersion)
	for _, p := range list.Plugins {
		fmt.Fprintln(&b, p.Network.Type, p.Network.Capabilities)
	}
	return b.String()
}

const chain = `flock-ipam map[io.kubernetes.cri.pod-annotations:true ips:true]
flock-veth map[]
flock-route map[]
`

// read is what a libcni makes of each golden file, after the line with the name and the version.
var read = map[string]string{
	"default":      chain + "flock-bird map[]\n",
	"every-option": chain + "flock-bird map[]\n",
	"no-bgp":       chain,
	"chained": chain + `flock-bird map[]
portmap map[portMappings:true]
bandwidth map[bandwidth:true]
tuning map[mac:true]
tuning map[]
`,
}

func TestLibcniReadsItBack(t *testing.T) {
	for name, o := range lists {
		list, err := libcni.NetworkConfFromBytes(render(t, o))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff("flock 1.1.0\n"+read[name], summary(list)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if !list.LoadOnlyInlinedPlugins || list.DisableCheck || list.DisableGC {
			t.Errorf("%s: libcni reads loadOnlyInlinedPlugins %v, disableCheck %v, disableGC %v",
				name, list.LoadOnlyInlinedPlugins, list.DisableCheck, list.DisableGC)
		}
	}
}

// containerd 1.7 has a libcni that passes over the key "cniVersions" and must be given 1.0.0.
func TestOlderLibcniReadsIt(t *testing.T) {
	reader := filepath.Join(t.TempDir(), "libcni")
	build := exec.Command("go", "build", "-o", reader, ".")
	build.Dir = filepath.Join("testdata", "libcni-1.1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the reader: %v\n%s", err, out)
	}
	for name, o := range lists {
		cmd := exec.Command(reader)
		cmd.Stdin = bytes.NewReader(render(t, o))
		out, err := cmd.CombinedOutput()
		if diff := cmp.Diff("flock 1.0.0\n"+read[name], string(out)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestBadOptions(t *testing.T) {
	tests := []struct {
		options Options
		want    string
	}{
		{Options{Stages: []string{"flock-ipam", "flock-vet"}}, `stage "flock-vet" is none of`},
		{Options{Stages: []string{"flock-veth", "flock-ipam", "flock-route"}}, "only the last"},
		{Options{Stages: Stages[:2]}, "only the last"},
		{Options{Stages: append([]string{"flock-ipam"}, Stages...)}, "only the last"},
		{Options{IPAM: IPAM{Pools: pools("10.0.0.1/24")}}, `pool "10.0.0.1/24"`},
		{Options{IPAM: IPAM{Pools: pools("10.0.0.0/8", "10.1.0.0/16")}}, "overlaps"},
		{Options{IPAM: IPAM{Pools: pools("")}}, "no cidr"},
		{Options{IPAM: IPAM{Pools: pools("::ffff:10.0.0.0/104")}}, "::ffff:"},
		{Options{IPAM: IPAM{IPAlgo: []string{"node"}}}, `ipAlgo "node" is no field`},
		{Options{IPAM: IPAM{CoolDown: "120"}}, `coolDown "120"`},
		{Options{IPAM: IPAM{CoolDown: "-1s"}}, `coolDown "-1s"`},
		{Options{Veth: Veth{MTU: 1279}}, "mtu 1279"},
		{Options{Veth: Veth{MTU: 65536}}, "mtu 65536"},
		{Options{Route: Route{Metric: -1}}, "metric -1"},
		{Options{Bird: Bird{Table: 254}}, "table 254"},
		{Options{Bird: Bird{Table: -1}}, "table -1"},
		{Options{Bird: Bird{Anycast: "now"}}, `anycast "now"`},
		{Options{Chained: []string{"portmapper"}}, `plugin "portmapper" is none of`},
		{Options{Chained: []string{""}}, `plugin "" is none of`},
		{Options{Chained: []string{"{}"}}, `type "" is no executable's name`},
		{Options{Chained: []string{`{"type": "../bin/sh"}`}}, `type "../bin/sh" is no executable's name`},
		{Options{Chained: []string{`{"type": 1}`}}, "plugin {"},
		{Options{Chained: []string{`{"type": "sbr"} {}`}}, "after top-level value"},
		{Options{Chained: []string{`{"type": "flock-veth"}`}}, "has its place"},
	}
	for _, tt := range tests {
		list, err := New(tt.options)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "make the conflist: ") {
			t.Errorf("New(%+v) = %v, %v; want an error with %q", tt.options, list, err, tt.want)
		}
	}
}

func TestTypes(t *testing.T) {
	list, err := New(Options{Chained: []string{"portmap", `{"type":"sbr"}`}})
	if err != nil {
		t.Fatal(err)
	}
	types, err := list.Types()
	want := append(append([]string(nil), Stages...), "portmap", "sbr")
	if diff := cmp.Diff(want, types); diff != "" || err != nil {
		t.Errorf("Types: %v (-want +got):\n%s", err, diff)
	}
	bad := List{Plugins: []json.RawMessage{json.RawMessage(`{}`)}}
	if _, err := bad.Types(); err == nil || !strings.Contains(err.Error(), "plugin 0") {
		t.Errorf("Types of a list with a nameless plugin = %v", err)
	}
}

// The name and the file's name are an interface: pods of before an upgrade are found by the one, other
// networks stay behind the other.
func TestNames(t *testing.T) {
	if Name != "flock" || FileName >= "10-calico.conflist" || filepath.Ext(FileName) != ".conflist" {
		t.Errorf("name %q in file %q", Name, FileName)
	}
}
