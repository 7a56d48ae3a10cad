// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"flock.fritzlab.net/flock/test/lab"
)

// TestRouterIsDocumented: the router of docs/install.md is the tests' own, for their first node.
func TestRouterIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/install.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(doc), "```bird\n")
	got, _, _ := strings.Cut(rest, "```")
	source, err := os.ReadFile("../test/lab/router.conf")
	must(t, err)
	var want strings.Builder
	must(t, template.Must(template.New("").Parse(string(source))).Execute(&want, map[string]any{
		"ASN": lab.RouterASN,
		"Nodes": []map[string]any{{
			"Name": "node1", "ASN": lab.RouterASN + 1,
			"Router4": "10.0.1.1", "Address4": "10.0.1.2", "Router6": "fd00:1::1", "Address6": "fd00:1::2",
		}},
	}))
	if bare(got) != bare(want.String()) {
		t.Errorf("docs/install.md has the router\n%s\nwant\n%s", got, want.String())
	}
}

// bare takes out comments and empty lines.
func bare(conf string) string {
	return regexp.MustCompile(`(?m)^(#.*|\s*)\n`).ReplaceAllString(conf, "")
}

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
