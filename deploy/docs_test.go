// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/nodefile"
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

// TestPluginsAreDocumented: docs/plugins.md has every key of the plugins, of pools and of node.json, and no other.
func TestPluginsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/plugins.md")
	must(t, err)
	for title, want := range map[string][]string{
		"flock-ipam":  keysIn(t, "../flock-ipam/internal/config/config.go", "written"),
		"flock-veth":  append(keysIn(t, "../flock-veth/config.go", "keys"), "ipam"),
		"flock-route": keysIn(t, "../flock-route/config.go", "keys"),
		"flock-bird":  keysIn(t, "../flock-bird/config.go", "keys"),
		"Pools":       keysIn(t, "../internal/pool/parse.go", "Spec"),
		"node.json":   nodeFileKeys(t),
	} {
		_, rest, found := strings.Cut(string(doc), "\n## "+title+"\n")
		section, _, _ := strings.Cut(rest, "\n## ")
		var got []string
		for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(section, -1) {
			for _, key := range strings.Split(row[1], ", ") {
				got = append(got, strings.Trim(key, "`"))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" || !found {
			t.Errorf("%s (-code +docs/plugins.md):\n%s", title, diff)
		}
	}
}

func nodeFileKeys(t *testing.T) []string {
	t.Helper()
	const source = "../internal/nodefile/nodefile.go"
	keys := slices.DeleteFunc(keysIn(t, source, "Spec"), func(key string) bool { return key == "defaults" })
	for _, key := range keysIn(t, source, "DefaultsSpec") {
		keys = append(keys, "defaults."+key)
	}
	return keys
}

// keysIn returns the JSON keys of a struct in a source file.
func keysIn(t *testing.T, file, name string) (keys []string) {
	t.Helper()
	source, err := os.ReadFile(file)
	must(t, err)
	_, rest, _ := strings.Cut(string(source), "\ntype "+name+" struct {\n")
	body, _, _ := strings.Cut(rest, "\n}\n")
	for _, match := range regexp.MustCompile("`json:\"(\\w+)").FindAllStringSubmatch(body, -1) {
		keys = append(keys, match[1])
	}
	if len(keys) == 0 {
		t.Fatalf("%s has no struct %s", file, name)
	}
	return keys
}

// TestNodeFileIsDocumented: flock-ipam takes the node.json that docs/plugins.md shows.
func TestNodeFileIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/plugins.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(doc), "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	file := filepath.Join(t.TempDir(), "node.json")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	node, err := nodefile.Read(file)
	if err != nil || len(node.Pools) != 2 {
		t.Errorf("it has the pools %v: %v", node.Pools, err)
	}
}
