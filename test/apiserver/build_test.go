// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuildIsThere(t *testing.T) {
	dir, err := Build(t.Context())
	check(t, err)
	for _, name := range controlplane.names {
		if !exists(filepath.Join(dir, name)) {
			t.Errorf("%s has no %s", dir, name)
		}
	}
	if again, err := Build(t.Context()); again != dir || err != nil {
		t.Errorf("Build again = %s, %v; want %s", again, err, dir)
	}
}

func TestHashFollowsEveryFile(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	seen := map[string]bool{}
	for _, content := range [][2]string{{"1", "1"}, {"2", "1"}, {"2", "2"}} {
		check(t, os.WriteFile(a, []byte(content[0]), 0o600))
		check(t, os.WriteFile(b, []byte(content[1]), 0o600))
		key, err := hash(a, b)
		check(t, err)
		seen[key] = true
	}
	if len(seen) != 3 {
		t.Errorf("three contents have the keys %v", seen)
	}
}

func TestCompileLeavesNothingWhereItFails(t *testing.T) {
	module := t.TempDir()
	check(t, os.WriteFile(filepath.Join(module, "go.mod"), []byte("module k8s.io/kubernetes\n"), 0o600))
	dir := filepath.Join(t.TempDir(), "bin")
	err := controlplane.compile(t.Context(), module, dir, "v1.2.3")
	if err == nil || !strings.Contains(err.Error(), "controlplane") {
		t.Errorf("compile of an empty module = %v, want an error that names the package", err)
	}
	if exists(dir) {
		t.Error("the folder is there")
	}
}
