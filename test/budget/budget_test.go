// SPDX-License-Identifier: Apache-2.0

// Package budget holds each stage to what it may link: it is started for every pod, four times over,
// and its start is most of what an ADD costs.
package budget

import (
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/conflist"
	"flock.fritzlab.net/flock/test/build"
)

const (
	module = "flock.fritzlab.net/flock/"
	// maxSize is in bytes.
	maxSize = 4_500_000
)

// forbidden are packages, and all below them, that cost a start more than the stage's own work.
var forbidden = []string{
	"net/http", "crypto/tls", "html/template", "text/template", "log/slog",
	"k8s.io", "sigs.k8s.io", "google.golang.org", "github.com/hashicorp", "github.com/spf13", "github.com/prometheus",
	"go.opentelemetry.io/otel/sdk", "github.com/containernetworking/cni/libcni",
}

// shared are the folders of this module that a stage may use beside its own.
var shared = []string{"internal", "plugins/cni", "api/v1alpha1/annotation"}

func within(path string, folders []string) bool {
	for _, folder := range folders {
		if path == folder || strings.HasPrefix(path, folder+"/") {
			return true
		}
	}
	return false
}

// deps returns every package that a package of this module links, itself included.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", module+pkg).Output()
	if err != nil {
		t.Fatalf("list what %s links: %v", pkg, err)
	}
	return strings.Fields(string(out))
}

func TestImports(t *testing.T) {
	for _, stage := range conflist.Stages {
		for _, dep := range deps(t, stage) {
			if within(dep, forbidden) {
				t.Errorf("%s links %s: see \"go list -deps\", then \"go mod why %s\"", stage, dep, dep)
			}
			if own, ok := strings.CutPrefix(dep, module); ok && !within(own, append(shared, stage)) {
				t.Errorf("%s links %s, which is neither its own nor shared", stage, own)
			}
		}
	}
}

// A test of the test: a daemon links what no stage may.
func TestImportsAreFound(t *testing.T) {
	for _, dep := range deps(t, "installer/flock-installer") {
		if within(dep, forbidden) {
			return
		}
	}
	t.Error("flock-installer, which uses cobra, links nothing that is forbidden")
}

func TestPrograms(t *testing.T) {
	dir, err := build.Flock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range conflist.Stages {
		path := filepath.Join(dir, stage)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s has %d bytes", stage, info.Size())
		if info.Size() > maxSize {
			t.Errorf("%s has %d bytes, more than %d", stage, info.Size(), maxSize)
		}
		checkStatic(t, path)
		checkTrimmed(t, path)
	}
}

// checkStatic wants a program that any node can execute, whatever its C library.
func checkStatic(t *testing.T, path string) {
	t.Helper()
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			t.Errorf("%s wants a dynamic linker", path)
		}
	}
	if program.Section(".symtab") != nil {
		t.Errorf("%s holds symbols", path)
	}
}

// checkTrimmed wants a program that says nothing about the machine on which it was built.
func checkTrimmed(t *testing.T, path string) {
	t.Helper()
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range info.Settings {
		if setting.Key == "-trimpath" && setting.Value == "true" {
			return
		}
	}
	t.Errorf("%s was built without -trimpath", path)
}
