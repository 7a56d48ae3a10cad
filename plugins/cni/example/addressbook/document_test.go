// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
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
