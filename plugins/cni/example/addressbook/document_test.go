// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocument holds docs/writing-a-plugin.md to this folder: its Go is main.go and the conformance
// test, whole and in order.
func TestDocument(t *testing.T) {
	doc := read(t, "../../../../docs/writing-a-plugin.md")
	var got strings.Builder
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		got.WriteString(block[1])
	}
	want := program(read(t, "main.go")) + program(read(t, "conformance_test.go"))
	if compact(got.String()) != compact(want) {
		t.Errorf("the document's program is not this one; it is\n%s", got.String())
	}
	if lines := strings.Count(compact(program(read(t, "main.go"))), "\n"); lines >= 100 {
		t.Errorf("the plugin has %d lines; the document promises fewer than 100", lines)
	}
}

// TestCommands does what the document says, up to the end of its test.
func TestCommands(t *testing.T) {
	doc, _, _ := strings.Cut(read(t, "../../../../docs/writing-a-plugin.md"), "\n## 7.")
	script, file := "set -e\n", "main.go"
	for _, block := range regexp.MustCompile("(?s)```(go|sh)\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		if strings.HasPrefix(block[2], "package main") && strings.Contains(block[2], `"testing"`) {
			file = "conformance_test.go"
		}
		if block[1] == "go" {
			block[2] = "cat >>" + file + " <<'END OF BLOCK'\n" + block[2] + "END OF BLOCK\n"
		}
		script += block[2]
	}
	flock, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = t.TempDir()
	// Modules come from those that are downloaded already.
	cmd.Env = append(os.Environ(), "FLOCK="+flock, "GOFLAGS=", "GOWORK=off", "GOSUMDB=off",
		"GOPROXY=file://"+strings.TrimSpace(string(modules))+"/cache/download")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "ok  \texample.com/addressbook") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// program returns a file without what stands before its package clause.
func program(file string) string { return file[strings.Index(file, "package main"):] }

// compact takes out empty lines.
func compact(s string) string { return regexp.MustCompile(`\n\s*\n`).ReplaceAllString(s, "\n") }

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
