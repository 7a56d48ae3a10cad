// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/build"
)

// ipam is a plugin to delegate to that does as it is told, and keeps a log of it.
type ipam struct {
	t   *testing.T
	dir string
}

// script answers a verb with the file of its name, fails if there is a file VERB.exit, and logs the verb
// with the number of pairs that the host has.
const script = `#!/bin/sh
cd DIR
echo "$CNI_COMMAND $CNI_CONTAINERID pairs=$(ip -o link show type veth | grep -c flock)" >> log
cat > $CNI_COMMAND.stdin
cat $CNI_COMMAND.stdout 2>/dev/null
exit $(cat $CNI_COMMAND.exit 2>/dev/null || echo 0)
`

func newIPAM(t *testing.T, n testNode) ipam {
	t.Helper()
	i := ipam{t, t.TempDir()}
	i.write("fake-ipam", strings.ReplaceAll(script, "DIR", i.dir))
	if err := os.Chmod(filepath.Join(i.dir, "fake-ipam"), 0o755); err != nil {
		t.Fatal(err)
	}
	i.write("ADD.stdout", `{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}],"dns":{"search":["x"]}}`)
	n.conf["ipam"] = map[string]any{"type": "fake-ipam", "colour": "blue"}
	return i
}

func (i ipam) write(file, text string) {
	i.t.Helper()
	if err := os.WriteFile(filepath.Join(i.dir, file), []byte(text), 0o644); err != nil {
		i.t.Fatal(err)
	}
}

// fail makes a verb fail with a CNI error.
func (i ipam) fail(verb string, code int) {
	i.write(verb+".exit", "1")
	i.write(verb+".stdout", fmt.Sprintf(`{"cniVersion":"1.1.0","code":%d,"msg":"no more addresses","details":"buy some"}`, code))
}

// log returns what was asked since the last time.
func (i ipam) log() string {
	i.t.Helper()
	path := filepath.Join(i.dir, "log")
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		i.t.Fatal(err)
	}
	os.Remove(path)
	return string(text)
}

func (i ipam) path() string { return "CNI_PATH=/nonexistent:" + i.dir }

func TestDelegateIsAskedForEverything(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	i := newIPAM(t, n)
	stdout, failure := n.exec("ADD", a, nil, i.path())
	if failure != nil {
		t.Fatal(failure)
	}
	for _, want := range []string{`"address":"10.1.0.5/32"`, `"gateway":"169.254.1.1"`, `"dst":"0.0.0.0/0"`, `"search"`} {
		if !strings.Contains(string(stdout), want) {
			t.Errorf("the result lacks %s:\n%s", want, stdout)
		}
	}
	compare(t, "log", "ADD c1 pairs=0", i.log())
	asked, err := os.ReadFile(filepath.Join(i.dir, "ADD.stdin"))
	if err != nil || !strings.Contains(string(asked), `"colour":"blue"`) || !strings.Contains(string(asked), `"type":"flock-veth"`) {
		t.Errorf("the plugin was given %s (%v), not the whole configuration", asked, err)
	}

	result := decode(t, stdout)
	for _, verb := range []string{"CHECK", "STATUS", "DEL"} {
		if _, failure := n.exec(verb, a, result, i.path()); failure != nil {
			t.Errorf("%s: %s", verb, failure)
		}
	}
	n.conf["cni.dev/valid-attachments"] = []types.GCAttachment{}
	if _, failure := n.exec("GC", attachmentOf{}, nil, i.path()); failure != nil {
		t.Errorf("GC: %s", failure)
	}
	// The addresses are free when the pair is gone, and not before.
	compare(t, "log", "CHECK c1 pairs=1\nSTATUS c1 pairs=1\nDEL c1 pairs=0\nGC  pairs=0", i.log())
}

func TestDelegateFails(t *testing.T) {
	for _, verb := range []string{"ADD", "CHECK", "STATUS", "GC", "DEL"} {
		t.Run(verb, func(t *testing.T) {
			n, a := newNode(t), newPod(t, "c1")
			i := newIPAM(t, n)
			n.conf["cni.dev/valid-attachments"] = []types.GCAttachment{{ContainerID: "c1", IfName: "eth0"}}
			stdout, _ := n.exec("ADD", a, nil, i.path())
			result := decode(t, stdout)
			if verb == "ADD" {
				if _, failure := n.exec("DEL", a, nil, i.path()); failure != nil {
					t.Fatal(failure)
				}
				result = nil
			}
			i.log()
			i.fail(verb, 123)
			_, failure := n.exec(verb, a, result, i.path())
			if failure == nil || failure.Code != 123 || failure.Msg != "ipam plugin fake-ipam: no more addresses" || failure.Details != "buy some" {
				t.Errorf("%s = %+v, want the plugin's own error", verb, failure)
			}
			if verb == "ADD" {
				compare(t, "log", "ADD c1 pairs=0\nDEL c1 pairs=0", i.log())
			}
		})
	}
}

func TestDelegateGetsItsAddressesBack(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		code         uint
		words        string
	}{
		{"the kernel refuses an address", `{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.5/24"},{"address":"ff02::5/64"}]}`, cni.CodeKernel, "add address ff02::5/128"},
		{"no address", `{"cniVersion":"1.1.0"}`, types.ErrInvalidNetworkConfig, "there is none"},
		{"no result", `hello`, types.ErrInternal, "read the result of ipam plugin fake-ipam"},
		{"nothing at all", ``, types.ErrInternal, "read the result of ipam plugin fake-ipam"},
		{"a version of tomorrow", `{"cniVersion":"9.0.0"}`, types.ErrInternal, "read the result of ipam plugin fake-ipam"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, a := newNode(t), newPod(t, "c1")
			a.pod.run("ip link set lo up")
			i := newIPAM(t, n)
			i.write("ADD.stdout", test.answer)
			before := n.picture() + "\n" + a.pod.picture()
			_, failure := n.exec("ADD", a, nil, i.path())
			if failure == nil || failure.Code != test.code || !strings.Contains(failure.Error(), test.words) {
				t.Errorf("ADD = %+v, want code %d with %q", failure, test.code, test.words)
			}
			compare(t, "log", "ADD c1 pairs=0\nDEL c1 pairs=0", i.log())
			compare(t, "state", before, n.picture()+"\n"+a.pod.picture())
		})
	}
}

func TestDelegateIsAbsent(t *testing.T) {
	n, a := newNode(t), newPod(t, "c1")
	newIPAM(t, n)
	n.refuse("ADD", a, nil, types.ErrInvalidNetworkConfig, "find ipam plugin fake-ipam: no such plugin in CNI_PATH's folders")
	n.conf["ipam"] = map[string]any{"type": "../fake-ipam"}
	n.refuse("ADD", a, nil, types.ErrInvalidNetworkConfig, `find ipam plugin "../fake-ipam": no such plugin: not the name of a plugin`)
}

// The reference IPAM plugin, as with cnitool: flock-veth alone in its network.
func TestHostLocal(t *testing.T) {
	reference, err := build.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, a := newNode(t), newPod(t, "c1")
	dir := t.TempDir()
	path := "CNI_PATH=" + reference
	n.conf["ipam"] = map[string]any{"type": "host-local", "dataDir": dir, "ranges": []any{
		[]any{map[string]any{"subnet": "10.1.0.0/24"}}, []any{map[string]any{"subnet": "2001:db8:1::/64"}}}}
	stdout, failure := n.exec("ADD", a, nil, path)
	if failure != nil {
		t.Fatal(failure)
	}
	result := decode(t, stdout)
	if got := fmt.Sprint(result.IPs[0].Address.String(), " ", result.IPs[1].Address.String()); got != "10.1.0.2/32 2001:db8:1::2/128" {
		t.Errorf("addresses %s", got)
	}
	n.lead(a, "10.1.0.2", "2001:db8:1::2")
	n.firstPacket("10.1.0.2")
	n.firstPacket("2001:db8:1::2")
	a.pod.firstPacket("192.0.2.10")
	if _, failure := n.exec("CHECK", a, result, path); failure != nil {
		t.Errorf("CHECK: %s", failure)
	}

	// host-local refuses the second ADD; the pod that runs keeps its addresses.
	before := n.picture() + "\n" + a.pod.picture()
	stdout, failure = n.exec("ADD", a, nil, path)
	if failure != nil {
		t.Fatal(failure)
	}
	if diff := cmp.Diff(result, decode(t, stdout)); diff != "" {
		t.Errorf("result (-first +second):\n%s", diff)
	}
	compare(t, "state", before, n.picture()+"\n"+a.pod.picture())
	if got := reserved(t, dir); got != 2 {
		t.Errorf("host-local holds %d addresses, want 2", got)
	}
	if _, failure := n.exec("DEL", a, nil, path); failure != nil {
		t.Errorf("DEL: %s", failure)
	}
	if got := reserved(t, dir); got != 0 {
		t.Errorf("after DEL host-local holds %d addresses", got)
	}
}

func reserved(t *testing.T, dir string) (count int) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, "flock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasPrefix(file.Name(), "10.") || strings.HasPrefix(file.Name(), "2001:") {
			count++
		}
	}
	return count
}
