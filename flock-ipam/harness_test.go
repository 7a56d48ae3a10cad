// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// binary is the plugin, built as it is shipped.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "flock-ipam-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, config.Name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build %s: %v\n%s", config.Name, err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// object is a JSON object of a configuration.
type object map[string]any

// node is a host with one container, and the configuration that the runtime has for it.
type node struct {
	t    *testing.T
	dir  string
	host *lab.Netns
	pod  *lab.Netns
	conf object
}

// newNode makes a node whose configuration has the plugin's keys.
func newNode(t *testing.T, keys object) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir(), host: newNetns(t), pod: newNetns(t)}
	n.conf = object{"cniVersion": "1.1.0", "name": "flock", "type": config.Name, "stateDir": n.dir}
	maps.Copy(n.conf, keys)
	return n
}

func newNetns(t *testing.T) *lab.Netns {
	t.Helper()
	ns, err := lab.NewNetns(lab.UniqueName("flt-ipam"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// delegated returns the node's configuration as a main plugin hands it on.
func (n *node) delegated(main object, ipam object) {
	section := object{"type": config.Name, "stateDir": n.dir}
	maps.Copy(section, ipam)
	n.conf = object{"cniVersion": "1.1.0", "name": "flock", "ipam": section}
	maps.Copy(n.conf, main)
}

// annotate lets the runtime hand the annotations over, given as "key=value" texts. None is none at all,
// which is an answer too.
func (n *node) annotate(texts ...string) {
	annotations := map[string]string{}
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		annotations["flock.fritzlab.net/"+key] = value
	}
	n.conf["runtimeConfig"] = object{capAnnotations: annotations}
}

// call runs the plugin as a runtime does.
func (n *node) call(verb, container string, env ...string) (stdout []byte, err error) {
	n.t.Helper()
	stdin, err := json.Marshal(n.conf)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append([]string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + container, "CNI_IFNAME=eth0", "CNI_NETNS=" + n.pod.Path(), "CNI_PATH=/opt/cni/bin",
	}, env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := n.host.Do(cmd.Run); err != nil {
		if stderr.Len() > 0 {
			n.t.Logf("stderr of %s: %s", verb, &stderr)
		}
		return nil, cniError(out.Bytes(), err)
	}
	return out.Bytes(), nil
}

// cniError returns the error that the plugin printed.
func cniError(stdout []byte, err error) error {
	var e types.Error
	if jsonErr := json.Unmarshal(stdout, &e); jsonErr != nil {
		return fmt.Errorf("%w, and printed %q", err, stdout)
	}
	return &e
}

// ok is a call that must succeed.
func (n *node) ok(verb, container string, env ...string) string {
	n.t.Helper()
	out, err := n.call(verb, container, env...)
	if err != nil {
		n.t.Fatalf("%s %s: %v", verb, container, err)
	}
	return string(out)
}

// add is an ADD whose result, made short, must be this.
func (n *node) add(container, want string, env ...string) {
	n.t.Helper()
	if diff := cmp.Diff(want, draw(n.t, n.ok("ADD", container, env...))); diff != "" {
		n.t.Errorf("ADD %s (-want +got):\n%s", container, diff)
	}
}

// refused is a call that must fail with the code, and a message that holds the text.
func (n *node) refused(code uint, text, verb, container string, env ...string) {
	n.t.Helper()
	out, err := n.call(verb, container, env...)
	e, ok := err.(*types.Error)
	if !ok {
		n.t.Fatalf("%s %s = %s, %v; want code %d", verb, container, out, err, code)
	}
	if e.Code != code || !strings.Contains(e.Msg, text) {
		n.t.Errorf("%s %s: code %d, %s\nwant code %d, %s", verb, container, e.Code, e.Msg, code, text)
	}
}

// draw shows a result as one line for each interface, address and route.
func draw(t *testing.T, printed string) string {
	t.Helper()
	var r struct {
		Interfaces []struct{ Name, Mac, Sandbox string }
		IPs        []struct {
			Address, Gateway string
			Interface        *int
		}
		Routes []struct {
			Dst, GW string
			Scope   *int
		}
	}
	if err := json.Unmarshal([]byte(printed), &r); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	var lines []string
	for _, i := range r.Interfaces {
		lines = append(lines, fmt.Sprintf("interface %s sandbox=%t", i.Name, i.Sandbox != ""))
	}
	for _, ip := range r.IPs {
		line := "ip " + ip.Address
		if ip.Gateway != "" {
			line += " gw " + ip.Gateway
		}
		if ip.Interface != nil {
			line += fmt.Sprintf(" on %d", *ip.Interface)
		}
		lines = append(lines, line)
	}
	for _, route := range r.Routes {
		line := "route " + route.Dst
		if route.GW != "" {
			line += " via " + route.GW
		}
		if route.Scope != nil {
			line += fmt.Sprintf(" scope %d", *route.Scope)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// allocations shows the store, a line for each attachment.
func (n *node) allocations() string {
	n.t.Helper()
	var lines []string
	err := store.Store{Dir: n.dir}.View(func(tx *store.Tx) error {
		return tx.All(func(a store.Allocation) error {
			lines = append(lines, fmt.Sprintf("%s %s %s", a.Attachment, a.State, append(a.Addresses, a.Anycast...)))
			return nil
		})
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// has compares the store with what it must hold.
func (n *node) has(want string) {
	n.t.Helper()
	if diff := cmp.Diff(want, n.allocations()); diff != "" {
		n.t.Errorf("the store (-want +got):\n%s", diff)
	}
}

// update changes the store behind the plugin's back.
func (n *node) update(fn func(*store.Tx) error) {
	n.t.Helper()
	if err := (store.Store{Dir: n.dir}).Update(fn); err != nil {
		n.t.Fatal(err)
	}
}

func attachment(container string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: container, IfName: "eth0"}
}
