// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"bytes"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// BenchmarkStart compares a plugin on this frame with the least that skel and netlink alone allow: the
// same ADD, from start to exit, in turns. The median of the frame's may be 1.3 times the other's.
func BenchmarkStart(b *testing.B) {
	stdin := []byte(`{"cniVersion":"1.1.0","name":"net","type":"x","prevResult":{"cniVersion":"1.1.0",` +
		`"interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"2001:db8::1/128","interface":0}]}}`)
	took := map[string][]time.Duration{}
	for b.Loop() {
		for _, binary := range []string{testplugin, baseline} {
			cmd := exec.Command(binary)
			cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_PATH=/x", "CNI_NETNS=" + container}
			cmd.Stdin = bytes.NewReader(stdin)
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%s: %v\n%s", binary, err, out)
			}
			took[binary] = append(took[binary], time.Since(start))
		}
	}
	frame, least := median(took[testplugin]), median(took[baseline])
	b.ReportMetric(float64(frame.Microseconds()), "frame-µs")
	b.ReportMetric(float64(least.Microseconds()), "skel+netlink-µs")
	b.ReportMetric(float64(frame)/float64(least), "ratio")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
