// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// TestWalk does what docs/writing-an-allocator.md says, from its first command to the last, on a copy of this machine
// that is gone afterwards, and compares what is printed.
func TestWalk(t *testing.T) {
	m := newMachine(t)
	file := ""
	for _, b := range blocks(t) {
		switch b.language {
		case "sh":
			m.mustRun(b.text)
		case "go":
			file = nextFile(file, b.text)
			m.mustRun(fmt.Sprintf("cat >>%s <<'END OF BLOCK'\n%s\nEND OF BLOCK\n", file, b.text))
		case "console":
			for _, e := range exchanges(b.text) {
				m.converse(e)
			}
		}
	}
}

// nextFile returns the file that a block of Go belongs to, if the one before it belongs to this file.
func nextFile(file, text string) string {
	switch {
	case !strings.HasPrefix(text, "package main"):
		return file
	case file == "":
		return "main.go"
	}
	return "conformance_test.go"
}

// exchange is a command and what it prints; "..." stands for anything.
type exchange struct{ command, prints string }

func exchanges(console string) (all []exchange) {
	for _, part := range strings.Split("\n"+console, "\n$ ")[1:] {
		command, prints, _ := strings.Cut(strings.TrimSuffix(part, "\n")+"\n", "\n")
		all = append(all, exchange{command, prints})
	}
	return all
}

// converse runs the command until it prints what it should: some of it takes a moment.
func (m *machine) converse(e exchange) {
	m.Helper()
	want := regexp.MustCompile("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(trimmed(e.prints)), `\.\.\.`, ".*") + "$")
	err := lab.Within(m.Context(), time.Minute, "$ "+e.command+"\nprints\n"+e.prints, func() error {
		printed := m.run(e.command)
		if !want.MatchString(trimmed(printed)) {
			return fmt.Errorf("it prints\n%s", printed)
		}
		return nil
	})
	if err != nil {
		m.Fatal(err)
	}
}

// trimmed takes out the spaces before each line's end, and the last line's end.
func trimmed(text string) string {
	return strings.TrimRight(regexp.MustCompile(`[ \t]+\n`).ReplaceAllString(text, "\n"), " \n")
}

// mustRun runs commands, each of which must succeed.
func (m *machine) mustRun(commands string) {
	m.Helper()
	m.run("set -e\n" + commands + "\nset +e\n")
}

// run returns what the commands print.
func (m *machine) run(commands string) string {
	m.Helper()
	script, out := filepath.Join(m.shared, "script"), filepath.Join(m.shared, "out")
	if err := os.WriteFile(script, []byte(commands), 0o600); err != nil {
		m.Fatal(err)
	}
	fmt.Fprintf(m.stdin, ". %s >%s 2>&1 </dev/null; echo done\n", script, out)
	if _, err := m.stdout.ReadString('\n'); err != nil {
		m.Fatalf("$ %s\nends the shell, having printed\n%s%s", commands, m.stderr.String(), readFile(m.T, out))
	}
	return readFile(m.T, out)
}
