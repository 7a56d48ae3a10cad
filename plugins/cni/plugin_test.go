// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/plugins/cni"
)

var (
	allVersions = []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}
	allVerbs    = []string{"ADD", "DEL", "CHECK", "GC", "STATUS"}
)

// prevResult is a result of the version with one address of each family.
func prevResult(version string) map[string]any {
	ips := []any{
		map[string]any{"address": "2001:db8::1/128", "interface": 0},
		map[string]any{"address": "192.0.2.1/32", "interface": 0},
	}
	if version < "1.0.0" {
		ips[0].(map[string]any)["version"], ips[1].(map[string]any)["version"] = "6", "4"
	}
	return map[string]any{
		"cniVersion": version, "interfaces": []any{map[string]any{"name": "eth0", "sandbox": container}},
		"ips": ips, "routes": []any{map[string]any{"dst": "::/0", "gw": "fe80::1"}}, "dns": map[string]any{"domain": "example"},
	}
}

// since is the first version that has the verb.
var since = map[string]string{"ADD": "0.3.1", "DEL": "0.3.1", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

func TestEveryVerbInEveryVersion(t *testing.T) {
	for _, version := range allVersions {
		for _, verb := range allVerbs {
			t.Run(verb+" "+version, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "seen")
				out := run(t, verb, conf{
					"cniVersion": version, "prevResult": prevResult(version), "seen": file, "cni.dev/valid-attachments": []any{},
				}.json(t))
				if version < since[verb] {
					if e := out.failed(t); e.Code != 1 {
						t.Fatalf("refused with code %d, want 1", e.Code)
					}
					return
				}
				out.succeeded(t)
				if s := read(t, file); s.Verb != verb || !s.HasPrev {
					t.Errorf("the verb saw %+v", s)
				}
				if verb != "ADD" && out.stdout != "" {
					t.Errorf("stdout %q, want nothing", out.stdout)
				}
			})
		}
	}
}

func TestResultHasTheVersionOfTheRequest(t *testing.T) {
	for _, version := range allVersions {
		out := run(t, "ADD", conf{"cniVersion": version, "prevResult": prevResult(version)}.json(t))
		out.succeeded(t)
		var got, want any
		out.object(t, &got)
		result, err := create.Create(version, mustJSON(t, prevResult(version)))
		if err != nil {
			t.Fatal(err)
		}
		json.Unmarshal(mustJSON(t, result), &want)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("version %s: prevResult became %v, want %v", version, got, want)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A plugin that changes nothing hands its prevResult on with whatever is in it.
func TestPrevResultPassesOn(t *testing.T) {
	const prev = `{"cniVersion":"1.1.0", "ips":[{"address":"192.0.2.1/32", "of":"another"}], "later":{"a": 1}}`
	c := conf{"do": "no result", "prevResult": json.RawMessage(prev)}
	out := run(t, "ADD", c.json(t))
	out.succeeded(t)
	var got, want any
	out.object(t, &got)
	if err := json.Unmarshal([]byte(prev), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-prevResult +result):\n%s", diff)
	}
}

// One without its version, as in the specification's examples, gets that of the request.
func TestPrevResultPassesOnWithItsVersion(t *testing.T) {
	for _, version := range []string{"0.4.0", "1.0.0"} {
		c := conf{"do": "no result", "cniVersion": version, "prevResult": json.RawMessage(`{"dns":{"domain":"example"}}`)}
		out := run(t, "ADD", c.json(t))
		out.succeeded(t)
		var got struct {
			CNIVersion string
			DNS        types.DNS
		}
		out.object(t, &got)
		if got.CNIVersion != version || got.DNS.Domain != "example" {
			t.Errorf("%s: passed on as %+v", version, got)
		}
	}
}

func TestVersionVerb(t *testing.T) {
	out := run(t, "VERSION", []byte(`{"cniVersion":"1.0.0"}`))
	out.succeeded(t)
	var answer struct{ SupportedVersions []string }
	if out.object(t, &answer); !slices.Equal(answer.SupportedVersions, allVersions) {
		t.Errorf("VERSION lists %v, want %v", answer.SupportedVersions, allVersions)
	}
}

func TestWithoutCommandItSaysWhatItIs(t *testing.T) {
	out := run(t, "", nil)
	if out.code != 0 || out.stdout != "" || !strings.Contains(out.stderr, "testplugin: a CNI plugin") {
		t.Errorf("it left %+v", out)
	}
}

func TestErrorCodes(t *testing.T) {
	tests := []struct {
		name string
		verb string
		conf conf
		env  string
		code uint
		text string // in the message or the details
	}{
		{"unsupported version", "ADD", conf{"cniVersion": "0.2.0"}, "", 1, "0.2.0"},
		{"no version", "ADD", conf{"cniVersion": nil}, "", 1, "0.1.0"},
		{"no container ID", "ADD", conf{}, "CNI_CONTAINERID=", 4, "CNI_CONTAINERID"},
		{"bad ifName", "DEL", conf{}, "CNI_IFNAME=a/b", 4, "interface name"},
		{"bad CNI_ARGS", "ADD", conf{}, "CNI_ARGS=nonsense", 4, `CNI_ARGS "nonsense"`},
		{"ipam of a wrong type", "ADD", conf{"ipam": "x"}, "", 6, "decode ipam"},
		{"prevResult of a wrong type", "ADD", conf{"prevResult": "x"}, "", 6, "decode prevResult"},
		{"prevResult of another version", "CHECK", conf{"prevResult": map[string]any{"cniVersion": "0.3.1"}}, "", 6, "0.3.1"},
		{"prevResult with a null in it", "ADD", conf{"prevResult": map[string]any{"interfaces": []any{nil}}}, "", 6, "interfaces[0] is null"},
		{"prevResult without an address", "ADD", conf{"prevResult": map[string]any{"ips": []any{map[string]any{}}}}, "", 6, "prevResult"},
		{"prevResult that points nowhere", "ADD", conf{"prevResult": map[string]any{
			"ips": []any{map[string]any{"address": "192.0.2.1/32", "interface": 0}}}}, "", 6, "ips[0] names interface 0 of 0"},
		{"no name", "ADD", conf{"name": nil}, "", 7, "name"},
		{"unknown key", "STATUS", conf{"mtuu": 1500}, "", 7, `unknown key "mtuu"`},
		{"wrong type", "ADD", conf{"code": "x"}, "", 7, `key "code"`},
		{"error of Parse", "DEL", conf{"do": "fail", "inParse": true}, "", 7, "do as told"},
		{"GC without a list", "GC", conf{}, "", 7, "valid-attachments"},
		{"GC of a nameless attachment", "GC", conf{"cni.dev/valid-attachments": []any{map[string]any{"containerID": "c1"}}}, "", 7, "[0]"},
		{"GC of a list that is none", "GC", conf{"cni.dev/valid-attachments": "all"}, "", 6, "valid-attachments"},
		{"plain error", "CHECK", conf{"do": "fail"}, "", 999, "do as told: failed"},
		{"own code", "ADD", conf{"do": "code", "code": cni.CodeKernel}, "", cni.CodeKernel, "kernel log"},
		{"code of STATUS", "STATUS", conf{"do": "code", "code": 50}, "", 50, "do as told"},
		{"code of Parse", "ADD", conf{"do": "code", "code": 11, "inParse": true}, "", 11, "do as told"},
		{"no result", "ADD", conf{"do": "no result"}, "", 999, "no prevResult to pass on"},
		{"result that points nowhere", "ADD", conf{"do": "bad result"}, "", 999, "ips[0]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out := run(t, test.verb, test.conf.json(t), test.env)
			if e := out.failed(t); e.Code != test.code || !strings.Contains(e.Msg+e.Details, test.text) {
				t.Errorf("it failed with %+v, want code %d and %q", e, test.code, test.text)
			}
		})
	}
}

func TestErrorHasTheVersionOfTheRequest(t *testing.T) {
	tests := map[string][]byte{"1.1.0": []byte("garbage")}
	for _, version := range allVersions[:3] {
		tests[version] = conf{"cniVersion": version, "do": "fail"}.json(t)
	}
	for want, stdin := range tests {
		out := run(t, "ADD", stdin)
		out.failed(t)
		var e struct{ CNIVersion string }
		if out.object(t, &e); e.CNIVersion != want {
			t.Errorf("the error's version is %q, want %q", e.CNIVersion, want)
		}
	}
}

func TestPanic(t *testing.T) {
	for _, verb := range allVerbs {
		for _, inParse := range []bool{false, true} {
			out := run(t, verb, conf{"do": "panic", "inParse": inParse, "cni.dev/valid-attachments": []any{}}.json(t))
			e := out.failed(t)
			if e.Code != 999 || !strings.Contains(e.Msg, "panic: ") || !strings.Contains(e.Details, "config.act") {
				t.Errorf("%s, in Parse %v: it failed with %+v, want 999 and the stack", verb, inParse, e)
			}
		}
	}
}

func TestStrayPrintsGoToStderr(t *testing.T) {
	for _, verb := range []string{"ADD", "DEL"} {
		out := run(t, verb, conf{"do": "print"}.json(t))
		out.succeeded(t)
		if strings.Contains(out.stdout, "stray") || !strings.Contains(out.stderr, "a stray line") {
			t.Errorf("%s left %+v", verb, out)
		}
	}
}

// notNamespaces returns paths that are no network namespace of a container.
func notNamespaces(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"a file": file, "a FIFO": fifo, "a directory": dir, "absent": file + "-absent",
		"another kind of namespace": "/proc/self/ns/uts", "the plugin's own": "/proc/self/ns/net",
	}
}

func TestBadNetnsIsRefused(t *testing.T) {
	for what, path := range notNamespaces(t) {
		for _, verb := range []string{"ADD", "CHECK"} {
			file := filepath.Join(t.TempDir(), "seen")
			out := run(t, verb, conf{"seen": file}.json(t), "CNI_NETNS="+path)
			if e := out.failed(t); e.Code != 8 || !strings.Contains(e.Msg, path) {
				t.Errorf("%s, CNI_NETNS is %s: it failed with %+v, want code 8 and the path", verb, what, e)
			}
			if _, err := os.Stat(file); err == nil {
				t.Errorf("%s, CNI_NETNS is %s: the verb ran", verb, what)
			}
		}
	}
}

func TestDelForgetsADeadNetns(t *testing.T) {
	paths := notNamespaces(t)
	paths["empty"] = ""
	for what, path := range paths {
		file := filepath.Join(t.TempDir(), "seen")
		run(t, "DEL", conf{"seen": file}.json(t), "CNI_NETNS="+path).succeeded(t)
		if s := read(t, file); s.Netns != "" {
			t.Errorf("CNI_NETNS is %s: DEL saw %q, want nothing", what, s.Netns)
		}
	}
	file := filepath.Join(t.TempDir(), "seen")
	run(t, "DEL", conf{"seen": file}.json(t)).succeeded(t)
	if s := read(t, file); s.Netns != container {
		t.Errorf("DEL saw %q, want %q", s.Netns, container)
	}
}

func TestNetnsOverride(t *testing.T) {
	for _, verb := range []string{"ADD", "DEL", "CHECK"} {
		file := filepath.Join(t.TempDir(), "seen")
		run(t, verb, conf{"seen": file}.json(t), "CNI_NETNS=/proc/self/ns/net", "CNI_NETNS_OVERRIDE=true").succeeded(t)
		if s := read(t, file); s.Netns != "/proc/self/ns/net" {
			t.Errorf("%s saw %q", verb, s.Netns)
		}
	}
	if e := run(t, "ADD", conf{}.json(t), "CNI_NETNS=/proc/self/ns/net", "CNI_NETNS_OVERRIDE=no").failed(t); e.Code != 8 {
		t.Errorf("CNI_NETNS_OVERRIDE=no: it failed with %+v, want code 8", e)
	}
}

func TestDelNeedsNoPrevResult(t *testing.T) {
	for _, prev := range []any{nil, "x", []any{}, map[string]any{"cniVersion": "9.9.9"}, map[string]any{"ips": []any{nil}}} {
		file := filepath.Join(t.TempDir(), "seen")
		run(t, "DEL", conf{"prevResult": prev, "seen": file}.json(t)).succeeded(t)
		if s := read(t, file); s.HasPrev {
			t.Errorf("prevResult %v was taken for one", prev)
		}
	}
}

func TestGCValid(t *testing.T) {
	tests := []struct {
		list string
		want [3]bool // (c1, eth0), (c1, eth0) of another network, (c2, eth0)
	}{
		{`[]`, [3]bool{false, true, false}},
		{`null`, [3]bool{false, true, false}},
		{`[{"containerID":"c1","ifname":"eth0"}]`, [3]bool{true, true, false}},
		{`[{"containerID":"c1","ifname":"net1"},{"containerID":"c2","ifname":"eth0"}]`, [3]bool{false, true, true}},
	}
	for _, test := range tests {
		file := filepath.Join(t.TempDir(), "seen")
		run(t, "GC", conf{"cni.dev/valid-attachments": json.RawMessage(test.list), "seen": file}.json(t)).succeeded(t)
		if s := read(t, file); s.Valid != test.want {
			t.Errorf("list %s: valid %v, want %v", test.list, s.Valid, test.want)
		}
	}
}

func TestWhatTheVerbSees(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seen")
	out := run(t, "ADD", conf{
		"seen": file, "ipam": map[string]any{"type": "flock-ipam", "pools": []any{}}, "dns": map[string]any{},
		"runtimeConfig": map[string]any{"ips": []any{"192.0.2.1/24"}}, "capabilities": map[string]any{"ips": true},
		"args": map[string]any{}, "cni.dev/anything": 1,
	}.json(t), "CNI_ARGS=K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_UID=u-1;OTHER=x")
	out.succeeded(t)
	want := seen{
		Verb: "ADD", Network: "net", Attachment: cni.Attachment{Network: "net", ContainerID: "c1", IfName: "eth0"},
		Pod: cni.Pod{Namespace: "ns", Name: "pod", UID: "u-1"}, Netns: container, IPAMType: "flock-ipam",
		Own: fmt.Sprintf(`{"seen":%q}`, file), Runtime: `{"ips":["192.0.2.1/24"]}`,
	}
	if got := read(t, file); got != want {
		t.Errorf("the verb saw %+v\nwant %+v", got, want)
	}
}

func TestFlockLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	run(t, "ADD", conf{}.json(t), "FLOCK_LOG="+file).succeeded(t)
	run(t, "CHECK", conf{"do": "fail"}.json(t), "FLOCK_LOG="+file).failed(t)
	run(t, "DEL", nil, "FLOCK_LOG="+file, "CNI_CONTAINERID=two\nlines").failed(t)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(lines) != 3 {
		t.Fatalf("three requests left %d lines:\n%s", len(lines), raw)
	}
	for i, want := range []string{`testplugin ADD container="c1" ifname="eth0"`, `error code=999 "do as told: failed"`, `DEL container="two\nlines"`} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %q, want %q in it", i, lines[i], want)
		}
	}
}

func TestFlockLogThatCannotBeOpened(t *testing.T) {
	out := run(t, "ADD", conf{}.json(t), "FLOCK_LOG=/nonexistent/log")
	out.succeeded(t)
	if !strings.Contains(out.stderr, "FLOCK_LOG") {
		t.Errorf("stderr says %q, want why there is no log", out.stderr)
	}
}
