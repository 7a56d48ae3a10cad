// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// demo is what the steps share.
type demo struct {
	*story
	options
	lab *lab.Lab
	// pods by name, as long as they are attached; order is that of their ADD.
	pods     []*pod
	services map[*lab.Pod]*lab.Service
	// before is each node's state without any pod.
	before map[*lab.Node][]string
}

type pod struct {
	*lab.Pod
	node *lab.Node
}

// String returns "node1/web1".
func (p *pod) String() string { return p.node.Name + "/" + p.Pod.Pod.Name }

// step is one part of the demo.
type step struct {
	title string
	// look says where to look when the step fails.
	look string
	// tearsDown marks the steps that DEMO_KEEP leaves out.
	tearsDown bool
	run       func(context.Context, *demo) error
}

// story prints what happens.
type story struct {
	out   io.Writer
	begun time.Time
}

func newStory(out io.Writer) *story { return &story{out: out, begun: time.Now()} }

// tell prints the step's title and time, runs it and prints how long it took.
func (s *story) tell(number, of int, title string, run func() error) error {
	fmt.Fprintf(s.out, "\n[%5.2f s] %d/%d  %s\n", time.Since(s.begun).Seconds(), number, of, title)
	start := time.Now()
	if err := run(); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "          ok, %s\n", span(time.Since(start)))
	return nil
}

// say prints one line or several below the step's title.
func (s *story) say(format string, args ...any) {
	for line := range strings.Lines(strings.TrimRight(fmt.Sprintf(format, args...), "\n")) {
		fmt.Fprintf(s.out, "          %s\n", strings.TrimRight(line, "\n"))
	}
}

// show prints a command as one would type it, and what it answered.
func (s *story) show(command, answer string) {
	s.say("$ %s", command)
	for line := range strings.Lines(strings.TrimRight(answer, "\n")) {
		s.say("  %s", strings.TrimRight(strings.ReplaceAll(line, "\t", "    "), " \n"))
	}
}

// span writes a duration in ms below a second, else in s.
func span(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
