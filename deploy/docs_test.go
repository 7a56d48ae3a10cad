// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestConditionsAreDocumented: docs/conditions.md has every type and reason of a condition, and no other.
func TestConditionsAreDocumented(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile(file)
		must(t, err)
		return string(text)
	}
	doc := read("../docs/conditions.md")
	source := read("../api/v1alpha1/conditions.go") + read("../flock-bird/birdd/internal/availability/availability.go")
	known := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\t(?:Reason|Condition)\w+ += "(\w+)"`).FindAllStringSubmatch(source, -1) {
		known[match[1]] = true
		if name := match[1]; !strings.Contains(doc, "`"+name+"`") && !strings.Contains(doc, "**"+name+"**") {
			t.Errorf("docs/conditions.md does not explain %s", name)
		}
	}
	if len(known) < 20 {
		t.Errorf("found %d reasons in the sources", len(known))
	}
	for _, match := range regexp.MustCompile("(?m)^\\| [A-Za-z, ]*\\| `(\\w+)` \\| (?:True|False|Unknown) \\|").FindAllStringSubmatch(doc, -1) {
		if !known[match[1]] {
			t.Errorf("docs/conditions.md explains %s, which nothing says", match[1])
		}
	}
}
