// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/plugins/cni/cnitest"
)

func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "addressbook")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cnitest.Run(t, cnitest.Plugin{
		Binary:     binary,
		Stands:     cnitest.Chained,
		Conf:       func(dir string) map[string]any { return map[string]any{"dir": dir} },
		PrevResult: before,
		Observe:    func(h cnitest.Host) ([]string, error) { return filepath.Glob(h.Dir + "/cnitest*:*") },
		Break: []cnitest.Difference{
			{Name: "file removed", Do: func(h cnitest.Host, a cnitest.Attachment) error { return os.Remove(fileOf(h, a)) }},
			{Name: "file changed", Do: func(h cnitest.Host, a cnitest.Attachment) error { return os.Truncate(fileOf(h, a), 0) }},
		},
		Unready: []cnitest.Unready{
			{Name: "directory absent", Conf: func(c map[string]any) { c["dir"] = "/nonexistent" }, Code: 50},
		},
	})
}

func fileOf(h cnitest.Host, a cnitest.Attachment) string {
	return config{Dir: h.Dir}.file(cni.Attachment{Network: a.Network, ContainerID: a.ContainerID, IfName: a.IfName})
}

// before plays the plugin that stands before: it says what it would have made.
func before(_ cnitest.Host, a cnitest.Attachment) (*current.Result, error) {
	_, address, err := net.ParseCIDR(fmt.Sprintf("2001:db8::%x/128", a.Index))
	return &current.Result{
		Interfaces: []*current.Interface{{Name: a.IfName, Sandbox: a.Netns}},
		IPs:        []*current.IPConfig{{Address: *address, Interface: current.Int(0)}},
	}, err
}
