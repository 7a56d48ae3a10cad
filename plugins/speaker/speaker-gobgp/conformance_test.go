// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/plugins/speaker/speakertest"
)

// TestConformance: the program as it is shipped keeps every rule of the contract.
func TestConformance(t *testing.T) {
	program := filepath.Join(t.TempDir(), "speaker-gobgp")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the speaker: %v\n%s", err, out)
	}
	speakertest.Run(t, speakertest.Options{
		Start: speakertest.Program(program),
		Refused: func(c *speaker.Config) string {
			c.Peers[0].BFD = speaker.BFDImmediate
			return "bgp.peers[" + c.Peers[0].Name + "].bfd"
		},
	})
}
