// SPDX-License-Identifier: Apache-2.0

package build

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestReference(t *testing.T) {
	dir, err := Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ptp", "bridge", "macvlan", "host-local", "static", "portmap", "tuning"} {
		cmd := exec.Command(filepath.Join(dir, name))
		cmd.Env = []string{"CNI_COMMAND=VERSION"}
		cmd.Stdin = strings.NewReader(`{"cniVersion":"1.0.0"}`)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"1.0.0"`) {
			t.Errorf("%s answers VERSION with %s (%v)", name, out, err)
		}
	}
}

func TestCompileNamesTheFailure(t *testing.T) {
	err := compile(t.Context(), t.TempDir(), t.TempDir(), "./absent")
	if err == nil || !strings.Contains(err.Error(), "./absent") {
		t.Errorf("compile of an absent package = %v, want an error that names it", err)
	}
}
