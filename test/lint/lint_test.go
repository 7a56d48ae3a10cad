// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lintTree returns the breaches in files given by path.
func lintTree(t *testing.T, files map[string]string) []string {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	breaches, err := lint(root)
	if err != nil {
		t.Fatal(err)
	}
	return breaches
}

func TestLint(t *testing.T) {
	const good = header + "package p\n"
	tests := []struct {
		name, path, text string
		want             []string
	}{
		{"clean", "p/p.go", good + "\n// F does.\nfunc F() {}\n", nil},
		{"no header", "p/p.go", "package p\n", []string{"p/p.go:1: begin with the SPDX line and an empty one"}},
		{"header of the package", "p/p.go", strings.TrimSuffix(header, "\n") + "package p\n",
			[]string{"p/p.go:2: begin with the SPDX line and an empty one"}},
		{"long file", "p/p.go", good + strings.Repeat("\n", 398), []string{"p/p.go:3: 401 lines, more than 400"}},
		{"long enough", "p/p.go", good + strings.Repeat("\n", 397), nil},
		{"long function", "p/p.go", good + "func f() {" + strings.Repeat("\n", 80) + "}\n", []string{"p/p.go:4: f has 81 lines, more than 80"}},
		{"function", "p/p.go", good + "func f() {" + strings.Repeat("\n", 79) + "}\n", nil},
		{"skip", "p/p_test.go", good + "func f() { t.Skipf() }\n", []string{"p/p_test.go:4: t.Skipf: a test that cannot run fails"}},
		{"sleep", "p/p.go", good + "func f() { time.Sleep(1) }\n", []string{"p/p.go:4: time.Sleep: wait for the event itself"}},
		{"sleep as a value", "p/p.go", good + "var f = time.Sleep\n", []string{"p/p.go:4: time.Sleep: wait for the event itself"}},
		{"sleep in a test", "p/p_test.go", good + "func f() { time.Sleep(1) }\n", nil},
		{"no comments", "p/p.go", good + "type T int\nconst C = 1\nvar V int\nfunc F() {}\nfunc (*T) M() {}\nfunc (T) String() string {}\n",
			[]string{
				"p/p.go:4: T is exported and has no comment", "p/p.go:5: C is exported and has no comment",
				"p/p.go:6: V is exported and has no comment", "p/p.go:7: F is exported and has no comment",
				"p/p.go:8: M is exported and has no comment",
			}},
		{"private receiver", "p/p.go", good + "type t int\nfunc (t) M() {}\n", nil},
		{"generic receiver", "p/p.go", good + "func (t[C]) M() {}\n\nfunc (T[c]) M() {}\n", []string{"p/p.go:6: M is exported and has no comment"}},
		{"comment of a group", "p/p.go", good + "// These are.\nconst (\n\tA = 1\n\tB = 2\n)\n", nil},
		{"program", "p/p.go", header + "package main\nfunc F() {}\n", nil},
		{"built", "bin/p.go", "package p\n", nil},
		{"links", "doc/a.md", "# One: `two`, three!\n[a](a.md) [b](#one-two-three) [c](b.md) [d](#four) [e](https://x.org/) [f](..)\n",
			[]string{"doc/a.md:2: link to #four: there is no such heading", "doc/a.md:2: link to b.md: there is no such file"}},
		{"no heading in code", "a.md", "```\n# one\n```\n[a](#one)\n", []string{"a.md:4: link to #one: there is no such heading"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lintTree(t, map[string]string{tt.path: tt.text})); diff != "" {
				t.Errorf("breaches (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLintReportsBrokenGo(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "p.go"), []byte("package"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := lint(root); err == nil || !strings.Contains(err.Error(), "p.go") {
		t.Errorf("lint of a broken file = %v, want an error that names it", err)
	}
}
