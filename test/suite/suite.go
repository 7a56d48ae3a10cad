// SPDX-License-Identifier: Apache-2.0

// Package suite is what the tests of conformance suites share: they play rules against programs that are wrong.
package suite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Recorder stands for a test and keeps what it fails with.
type Recorder struct{ failure string }

// Helper does nothing.
func (*Recorder) Helper() {}

// Fatalf keeps the text and ends the check.
func (r *Recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// Failure returns what the check fails with, "" for nothing.
func Failure(check func(*Recorder)) string {
	var rec Recorder
	done := make(chan struct{})
	go func() { // Fatalf ends it
		defer close(done)
		check(&rec)
	}()
	<-done
	return rec.failure
}

// Main runs the tests with the program built of the package, whose path it writes to program. It returns what to exit with.
func Main(m *testing.M, pkg string, program *string) int {
	dir, err := os.MkdirTemp("", "flt-suite-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	*program = filepath.Join(dir, filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", *program, pkg).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
		return 1
	}
	return m.Run()
}
