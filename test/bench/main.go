// SPDX-License-Identifier: Apache-2.0

// Command bench measures flock's chain beside the reference plugins, in interleaved rounds of one run
// through libcni, so that a slow or busy machine slows all of them. It prints a table with the ratios
// that flock promises and writes everything as JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// plan is how much is measured.
type plan struct {
	// Rounds are how often each contender is measured one attachment at a time, Bursts with parallel
	// ones at once. Contenders that wait for duplicate-address detection have slow ones.
	Rounds, SlowRounds int
	Bursts, SlowBursts int
	Parallel           int
	// Few and Many are the numbers of existing attachments.
	Few, Many int
	Starts    int
	Announced int
	// Anycast addresses are announced while a pod's readiness changes so many times, forth and back.
	Anycast, Flips int
	// Only is the one part of the parts that is measured, empty for all of them.
	Only string
}

// The parts of a run.
const (
	partStarts   = "starts"
	partAnnounce = "announce"
	partReady    = "ready"
	partAttach   = "attach"
)

var parts = []string{partStarts, partAnnounce, partReady, partAttach}

// has tells whether a part is measured.
func (p plan) has(part string) bool { return p.Only == "" || p.Only == part }

var (
	whole = plan{Rounds: 200, SlowRounds: 8, Bursts: 15, SlowBursts: 2, Parallel: 16, Few: 10, Many: 5000, Starts: 300, Announced: 100, Anycast: 500, Flips: 250}
	quick = plan{Rounds: 30, SlowRounds: 2, Bursts: 3, SlowBursts: 1, Parallel: 16, Few: 10, Many: 5000, Starts: 60, Announced: 20, Anycast: 500, Flips: 25}
)

func main() {
	short := flag.Bool("quick", false, "measure a tenth as often, for a rough picture")
	path := flag.String("json", "bin/bench.json", "file for the results")
	enforce := flag.Bool("enforce", false, "exit 1 when a limit is missed")
	only := flag.String("only", "", "measure one part alone: "+strings.Join(parts, ", "))
	flag.Parse()
	if *only != "" && !slices.Contains(parts, *only) {
		fmt.Fprintf(os.Stderr, "bench: -only=%s is none of %s\n", *only, strings.Join(parts, ", "))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	p := whole
	if *short {
		p = quick
	}
	p.Only = *only
	report, err := run(ctx, p)
	if err == nil {
		report.print(os.Stdout)
		err = report.write(*path)
	}
	if err == nil && *enforce && report.missed() > 0 {
		err = fmt.Errorf("%d limits missed", report.missed())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	plan
	name string
	// dir is on a tmpfs, as /run/flock is on a node: neither side waits for a disk.
	dir string
	// programs holds the folders of programs. It is on a disk, as /opt/cni/bin is.
	programs                string
	flock, reference, extra string
	netns                   []*lab.Netns
	report                  *report
	began                   time.Time
}

func run(ctx context.Context, p plan) (_ *report, err error) {
	if _, err := lab.Sweep("flbench"); err != nil {
		return nil, err
	}
	b := &bench{plan: p, name: lab.UniqueName("flbench"), report: newReport(p), began: time.Now()}
	b.dir = filepath.Join("/dev/shm", b.name)
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder on a tmpfs: %w", err)
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, step := range []struct {
		what, part string
		do         func(context.Context) error
	}{
		{"build the programs", p.Only, b.build},
		{"start each plugin", partStarts, b.measureStarts},
		{"announce and withdraw", partAnnounce, b.measureAnnouncing},
		{"change readiness", partReady, b.measureReadiness},
		{"attach and detach", partAttach, b.measureAttaching},
	} {
		if !p.has(step.part) {
			continue
		}
		b.say("%s", step.what)
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	b.report.Seconds = time.Since(b.began).Seconds()
	return b.report, nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// build builds flock's programs, the reference plugins and the bench's own, and installs them.
func (b *bench) build(ctx context.Context) error {
	flock, err := build.Flock(ctx)
	if err != nil {
		return err
	}
	reference, err := build.Reference(ctx)
	if err != nil {
		return err
	}
	extra := filepath.Join(b.dir, "extra")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", extra+"/",
		"flock.fritzlab.net/flock/test/bench/empty", "flock.fritzlab.net/flock/test/bench/baseline")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	b.programs = filepath.Join(filepath.Dir(flock), b.name)
	b.flock, b.reference, b.extra = filepath.Join(b.programs, "flock"), filepath.Join(b.programs, "reference"), filepath.Join(b.programs, "extra")
	return errors.Join(install(flock, b.flock), install(reference, b.reference), install(extra, b.extra))
}

// install writes the programs of a folder into another one as an installer does. As the linker leaves
// them, they lie in the page cache in single pages, and each start of any of them takes 0.4 ms longer.
func install(from, to string) error {
	if err := errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	programs, err := filepath.Glob(filepath.Join(from, "[a-z]*"))
	if err != nil {
		return err
	}
	for _, program := range programs {
		content, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(program)), content, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// close removes everything that the run made.
func (b *bench) close() error {
	b.say("remove %d network namespaces", len(b.netns))
	var errs []error
	for _, n := range b.netns {
		errs = append(errs, netns.DeleteNamed(n.Name)) // no process is left in any: nobody need look for one
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir), os.RemoveAll(b.programs))...)
}

// machine describes where the figures come from.
func machine() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d cores, Linux %s, %s", runtime.NumCPU(), unix.ByteSliceToString(uts.Release[:]), runtime.Version())
}
