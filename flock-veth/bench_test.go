// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkProgram measures the program from its start to its end: VERSION is what any start costs, ADD
// and DEL are for a dual-stack pod.
func BenchmarkProgram(b *testing.B) {
	n := newNode(b)
	took := map[string][]time.Duration{}
	run := func(verb string, a attachmentOf) {
		prev := a.given(dual)
		if verb != "ADD" {
			prev = nil
		}
		start := time.Now()
		n.must(verb, a, prev)
		took[verb] = append(took[verb], time.Since(start))
	}
	for i := 0; b.Loop(); i++ {
		a := newPod(b, fmt.Sprint("c", i))
		for _, verb := range []string{"VERSION", "ADD", "DEL"} {
			run(verb, a)
		}
	}
	b.ReportMetric(0, "ns/op")
	for verb, times := range took {
		slices.Sort(times)
		b.ReportMetric(times[len(times)/2].Seconds()*1000, verb+"-p50-ms")
	}
}
