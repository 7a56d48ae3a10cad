// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/plugins/cni"
)

// TestReadmeCodes holds the README's table of error codes to the list that the programs use.
func TestReadmeCodes(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, c := range cni.Codes {
		fmt.Fprintf(&want, "| %d | %s | %s | %s |\n", c.Code, c.Name, c.Meaning, c.Remedy)
	}
	_, rest, _ := strings.Cut(string(readme), "| code | name | meaning | what to do |\n|---|---|---|---|\n")
	got, _, _ := strings.Cut(rest, "\n\n")
	if got+"\n" != want.String() {
		t.Errorf("README.md has\n%s\nwant\n%s", got, want.String())
	}
}
