// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

const kind = "flt-demo"

// name keeps the tests' demos apart from anybody's kept one, and from those of another run of the tests.
var name = lab.UniqueName(kind)

// TestMain is the demo itself where a test executes its own program.
func TestMain(m *testing.M) {
	if os.Getenv("FLOCK_DEMO_TEST") != "" {
		main()
		return
	}
	if _, err := lab.Sweep(kind); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// demoCommand returns the demo as a command, and what it prints.
func demoCommand(t *testing.T, env string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-name", name}, args...)...)
	cmd.Env = append(os.Environ(), "FLOCK_DEMO_TEST=1", env)
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

func wantNothingLeft(t *testing.T) {
	t.Helper()
	left, err := lab.Namespaces(name)
	if err != nil || len(left) > 0 {
		t.Errorf("namespaces %v are left (%v)", left, err)
	}
	if dirs, err := os.ReadDir(os.TempDir()); err == nil {
		for _, d := range dirs {
			if strings.HasPrefix(d.Name(), name+"-") {
				t.Errorf("folder %s is left", d.Name())
			}
		}
	}
}

func TestDemo(t *testing.T) {
	cmd, out := demoCommand(t, "X=")
	start := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the demo took %s, more than a minute", took)
	}
	for _, want := range []string{"2001:db8:2::/64", "dev node1", "dev node2", "Everything worked and nothing is left"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not tell %q:\n%s", want, out)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("the demo prints escape codes")
	}
	wantNothingLeft(t)
}

func TestKeepAndClean(t *testing.T) {
	cmd, out := demoCommand(t, "DEMO_KEEP=1")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, command := range commandsOf(out.String()) {
		if result, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Errorf("the demo proposes %q, which fails: %v: %s", command, err, result)
		}
	}
	cmd, out = demoCommand(t, "X=", "-clean")
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "removed") {
		t.Errorf("clean: %v\n%s", err, out)
	}
	wantNothingLeft(t)
}

// commandsOf returns the commands for looking around that a kept demo prints.
func commandsOf(out string) []string {
	_, rest, _ := strings.Cut(out, "Look around:\n\n")
	rest, _, _ = strings.Cut(rest, "\n\n")
	var commands []string
	for line := range strings.Lines(rest) {
		commands = append(commands, strings.TrimSpace(line))
	}
	return commands
}

// TestFailingStep gives the demo a folder without programs.
func TestFailingStep(t *testing.T) {
	cmd, out := demoCommand(t, "X=", "-bin", t.TempDir())
	if err := cmd.Run(); err == nil {
		t.Error("the demo succeeds")
	}
	for _, want := range []string{"FAILED: ", "Look at: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not print %q:\n%s", want, out)
		}
	}
	wantNothingLeft(t)
}

// TestInterrupt ends the demo as Ctrl-C does, in its middle.
func TestInterrupt(t *testing.T) {
	cmd, out := demoCommand(t, "X=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := lab.Within(t.Context(), 30*time.Second, "the demo has namespaces", func() error {
		found, err := lab.Namespaces(name)
		if err == nil && len(found) < 2 {
			err = os.ErrNotExist
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("the interrupted demo succeeds:\n%s", out)
	}
	wantNothingLeft(t)
}
