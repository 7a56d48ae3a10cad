// SPDX-License-Identifier: Apache-2.0

package hosttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/plugins/cni"
)

// AsPlugin is for TestMain: under the plugin's name the test's own program runs main and nothing else.
func AsPlugin(name string, main func()) {
	if filepath.Base(os.Args[0]) == name {
		main()
		os.Exit(0)
	}
}

// Binary returns a path under which the test's own program is the plugin; see [AsPlugin].
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Call is one run of a plugin on the host. The network is "flock" and the interface "eth0".
type Call struct {
	Binary      string
	Verb        string
	ContainerID string
	Netns       string
	// Conf is the plugin's own part of the configuration.
	Conf map[string]any
	// Prev is the prevResult; nil for none.
	Prev *current.Result
	// Valid lists the containers that a GC keeps.
	Valid []string
}

// Call runs the plugin and returns what it printed, or its CNI error.
func (h *Host) Call(c Call) (string, *types.Error) {
	h.tb.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(c.Binary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.stdin()), &stdout, &stderr
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+c.Verb, "CNI_CONTAINERID="+c.ContainerID,
		"CNI_IFNAME=eth0", "CNI_NETNS="+c.Netns, "CNI_PATH=/nowhere")
	if err := h.Do(cmd.Run); err == nil {
		return stdout.String(), nil
	}
	failure := new(types.Error)
	if err := json.Unmarshal(stdout.Bytes(), failure); err != nil {
		h.tb.Fatalf("%s %s printed no CNI error: %q, %s", c.Verb, c.ContainerID, stdout.Bytes(), stderr.Bytes())
	}
	return "", failure
}

func (c Call) stdin() []byte {
	conf := map[string]any{"cniVersion": "1.1.0", "name": "flock", "type": filepath.Base(c.Binary)}
	for key, value := range c.Conf {
		conf[key] = value
	}
	if c.Prev != nil {
		conf["prevResult"] = c.Prev
	}
	if c.Verb == "GC" {
		valid := []types.GCAttachment{}
		for _, id := range c.Valid {
			valid = append(valid, types.GCAttachment{ContainerID: id, IfName: "eth0"})
		}
		conf["cni.dev/valid-attachments"] = valid
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		panic(err) // of a test that is wrong
	}
	return stdin
}

// Result returns what the stages before make for a pod: its host-side link, and its addresses, of which
// the anycast ones are written with the suffix "@lo".
func Result(link, netns string, addrs ...string) *current.Result {
	r := &current.Result{CNIVersion: "1.1.0", Interfaces: []*current.Interface{
		{Name: link}, {Name: "eth0", Sandbox: netns}, {Name: "lo", Sandbox: netns},
	}}
	for _, text := range addrs {
		at := 1
		text, anycast := strings.CutSuffix(text, "@lo")
		if anycast {
			at = 2
		}
		addr := netip.MustParseAddr(text)
		r.IPs = append(r.IPs, &current.IPConfig{Interface: &at, Address: cni.IPNet(cni.HostPrefix(addr))})
	}
	return r
}

// Describe writes a CNI error for comparison: "ok", or its code and message.
func Describe(err *types.Error) string {
	if err == nil {
		return "ok"
	}
	return fmt.Sprintf("%d: %s", err.Code, err.Msg)
}
