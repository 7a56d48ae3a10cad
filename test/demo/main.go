// SPDX-License-Identifier: Apache-2.0

// Demo shows flock at work on one machine: two nodes and a top-of-rack router as network namespaces,
// BIRD in each, the real plugins through libcni. Every step is printed as it happens; the first that
// fails ends the demo with exit code 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// options are the command line and the environment.
type options struct {
	bin   string
	name  string
	clean bool
	keep  bool
}

func main() {
	lab.CloseOnSignal()
	var o options
	flag.StringVar(&o.bin, "bin", "", "folder of flock's programs; they are built where it is not given")
	flag.StringVar(&o.name, "name", "flock-demo", "start of the names of the demo's namespaces and folder")
	flag.BoolVar(&o.clean, "clean", false, "remove what DEMO_KEEP=1 left, and do nothing else")
	flag.Parse()
	o.keep = os.Getenv("DEMO_KEEP") != ""
	if err := run(context.Background(), os.Stdout, o); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "demo:", err)
		}
		os.Exit(1)
	}
}

// errReported is returned when the failure was told as part of the demo.
var errReported = errors.New("the demo failed")

func run(ctx context.Context, out io.Writer, o options) error {
	if os.Geteuid() != 0 {
		return errors.New("making network namespaces takes root: run it with sudo")
	}
	if o.clean {
		return sweep(out, o.name)
	}
	d := &demo{story: newStory(out), options: o}
	defer d.close()
	fmt.Fprint(out, introduction)
	for i, s := range steps {
		if s.tearsDown && o.keep {
			continue
		}
		if err := d.tell(i+1, len(steps), s.title, func() error { return s.run(ctx, d) }); err != nil {
			return d.fail(err, s.look)
		}
	}
	if o.keep {
		d.explain()
		return nil
	}
	fmt.Fprintf(out, "\nEverything worked and nothing is left, in %.1f s.\n", time.Since(d.begun).Seconds())
	return nil
}

const introduction = `
flock demo: a top-of-rack router, two nodes and their pods, all of them network
namespaces of this machine, which itself is left alone.

                     router (AS 65000)
      fd00:1::1, 10.0.1.1 /      \ fd00:2::1, 10.0.2.1
      fd00:1::2, 10.0.1.2 |      | fd00:2::2, 10.0.2.2
         node1 (AS 65001)         node2 (AS 65002)
          2001:db8:1::/64          2001:db8:2::/64
            10.244.1.0/24            10.244.2.0/24
                 |                        |
               pods                     pods
`

// fail tells what broke and where to look.
func (d *demo) fail(err error, look string) error {
	fmt.Fprintf(d.out, "\n  FAILED: %v\n\n  Look at: %s\n", err, look)
	switch {
	case d.lab == nil:
	case d.keep:
		d.explain()
	default:
		fmt.Fprintln(d.out, "  To look around in it, run the demo again with DEMO_KEEP=1; this one is torn down now.")
	}
	return errReported
}

// close tears down what a failing step has left, unless it is to be kept.
func (d *demo) close() {
	for _, s := range d.services {
		s.Close()
	}
	if d.lab == nil || d.keep {
		return
	}
	if err := d.lab.Close(); err != nil {
		fmt.Fprintf(d.out, "\n  The teardown failed: %v\n  \"go run ./test/demo -clean\" tries again.\n", err)
	}
}

func sweep(out io.Writer, name string) error {
	gone, err := lab.Sweep(name)
	for _, name := range gone {
		fmt.Fprintln(out, "removed", name)
	}
	if err == nil && len(gone) == 0 {
		fmt.Fprintln(out, "no demo was left up")
	}
	return err
}
