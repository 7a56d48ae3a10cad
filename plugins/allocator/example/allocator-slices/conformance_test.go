// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/allocator/allocatortest"
)

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	binary, table := filepath.Join(dir, "allocator-slices"), filepath.Join(dir, "table.json")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if err := os.WriteFile(table, []byte(`{"default": ["10.0.0.0/8", "2001:db8::/32"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	allocatortest.Run(t, allocatortest.Options{
		Start:   allocatortest.Program(binary, "SLICES_TABLE="+table, "SLICES_GIVEN="+filepath.Join(dir, "given.json")),
		Refused: func() allocator.Pod { return allocator.Pod{Namespace: "unheard-of", Name: "web"} },
	})
}
