// SPDX-License-Identifier: Apache-2.0

// Package chain tests flock's plugins as a container runtime uses them: real programs, through libcni, on
// real kernels, with a real BIRD. It holds tests only.
package chain

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// kind starts the names of the labs.
const kind = "flt-chain"

// flockBin and referenceBin are the folders of the programs under test and of the reference plugins.
var flockBin, referenceBin string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	lab.CloseOnSignal()
	if _, err := lab.Sweep(kind); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if flockBin, err = build.Flock(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if referenceBin, err = build.Reference(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// newLab builds a lab of so many nodes that goes with the test.
func newLab(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	o.Name, o.Bin = lab.UniqueName(kind), flockBin
	l, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// within bounds what takes no time but for a busy machine.
const within = 10 * time.Second

// check ends the test on an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newPod makes a pod on the node.
func newPod(t *testing.T, n *lab.Node, name string, annotations map[string]string) *lab.Pod {
	t.Helper()
	p, err := n.NewPod(name, annotations)
	check(t, err)
	return p
}

// state returns the node's state.
func state(t *testing.T, n *lab.Node) []string {
	t.Helper()
	s, err := n.State(t.Context())
	check(t, err)
	return s
}

// wantUnchanged waits until the node's state is the one before.
func wantUnchanged(t *testing.T, n *lab.Node, before []string) {
	t.Helper()
	check(t, lab.Within(t.Context(), within, n.Name+" is as before", func() error {
		after, err := n.State(t.Context())
		if err != nil {
			return err
		}
		if diff := lab.Difference(before, after); len(diff) > 0 {
			return fmt.Errorf("it differs: %q", diff)
		}
		return nil
	}))
}

// wantPings pings each pod from each host, over both families.
func wantPings(t *testing.T, from []*lab.Netns, to ...*lab.Pod) {
	t.Helper()
	for _, host := range from {
		for _, p := range to {
			if host == p.Netns {
				continue
			}
			if _, _, err := host.PingPod(t.Context(), p); err != nil {
				t.Error(err)
			}
		}
	}
}
