// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

const docs = "../../docs/nodeconfig.md"

func readDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExamplesAreValid(t *testing.T) {
	for _, text := range examples(t) {
		c, err := Decode([]byte(text))
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		if errs := problems(c); errs != nil {
			t.Errorf("%v\n%s", errs.ToAggregate(), text)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	text := readDocs(t)
	for _, name := range fieldNames(reflect.TypeFor[NodeConfigSpec]()) {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("%s does not explain %s", docs, name)
		}
	}
}

func TestEveryConditionIsDocumented(t *testing.T) {
	source, err := os.ReadFile("conditions.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?:Reason|Condition)\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(names) < 20 {
		t.Fatalf("%d conditions and reasons", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(text), "`"+name[1]+"`") && !strings.Contains(string(text), "**"+name[1]+"**") {
			t.Errorf("docs/conditions.md does not explain %s", name[1])
		}
	}
}

// fieldNames returns the JSON names of a type's fields, and of those inside them.
func fieldNames(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[NodeConfig]().PkgPath() {
		return nil
	}
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(append(names, name), fieldNames(t.Field(i).Type)...)
	}
	return names
}
