// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"os"
	"reflect"
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
		if errs := c.Validate(); errs != nil {
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
