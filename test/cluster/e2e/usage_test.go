// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// TestUsage runs what "make cluster" runs, where the cluster is up, and then what it tells its user to do.
func TestUsage(t *testing.T) {
	up := exec.CommandContext(t.Context(), "go", "run", "../run", "-name", name, "-dir", dir, "-images", one.Images, "-base", one.Base, "up")
	out, err := up.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "is up") {
		t.Fatalf("up again: %v\n%s", err, out)
	}
	_, commands, _ := strings.Cut(string(out), "Use it:\n\n")
	commands, _, _ = strings.Cut(commands, "\n\n")
	result, err := exec.CommandContext(t.Context(), "sh", "-exc", commands+"\n  kubectl delete pod web").CombinedOutput()
	if err != nil {
		t.Errorf("the commands that it shows fail: %v\n%s", err, result)
	}
	for _, want := range []string{"EverythingTrue", "2001:db8:a::53/128", "node1_ipv6"} {
		if !strings.Contains(string(result), want) {
			t.Errorf("they print no %q:\n%s", want, result)
		}
	}
}
