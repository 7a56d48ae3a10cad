// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// block is a code block of the document.
type block struct{ language, text string }

// blocks returns those of docs/writing-an-allocator.md, in order.
func blocks(t *testing.T) (all []block) {
	t.Helper()
	for _, found := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(readFile(t, "../../../../docs/writing-an-allocator.md"), -1) {
		all = append(all, block{found[1], found[2]})
	}
	return all
}

// TestDocument holds docs/writing-an-allocator.md to this folder: its Go is main.go and the conformance test, whole and
// in order.
func TestDocument(t *testing.T) {
	var got strings.Builder
	for _, b := range blocks(t) {
		if b.language == "go" {
			got.WriteString(b.text)
		}
	}
	want := program(readFile(t, "main.go")) + program(readFile(t, "conformance_test.go"))
	if compact(got.String()) != compact(want) {
		t.Errorf("the document's program is not this one; it is\n%s", got.String())
	}
	if lines := strings.Count(compact(program(readFile(t, "main.go"))), "\n"); lines >= 100 {
		t.Errorf("the allocator has %d lines; the document promises fewer than 100", lines)
	}
}

// program returns a file without what stands before its package clause.
func program(file string) string { return file[strings.Index(file, "package main"):] }

// compact takes out empty lines.
func compact(s string) string { return regexp.MustCompile(`\n\s*\n`).ReplaceAllString(s, "\n") }

func readFile(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
