// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
)

func inputRules(p Plugin) []rule {
	rules := []rule{
		{"input-malformed", "stdin that is no configuration is an error of code 5, 6 or 7, whatever its size", specErrors, inputMalformed},
		{"input-no-name", "a configuration without a network name, or with one that is not allowed, is refused with code 7", specConf, inputNoName},
		{"input-bad-names", "names with characters that are not allowed, or too long, are refused with code 4", specParams, inputBadNames},
		{"input-long-container-id", "a container ID of any length is accepted, or refused with an error that leaves nothing", specParams, inputLongContainerID},
		{"input-unknown-key", "a key that the plugin does not know is refused with code 7, and the error names it", specFlock, inputUnknownKey},
		{"input-cni-keys", "keys that CNI defines or reserves are never refused as unknown", specConf, inputCNIKeys},
		{"input-wrong-types", "a value of the wrong type is refused with code 6 or 7", specErrors, inputWrongTypes},
	}
	if p.Stands != Delegated {
		rules = append(rules, rule{"input-bad-prevresult", "a prevResult that is none is refused by ADD of a chained plugin, and fails no DEL", specFlock, inputBadPrevResult})
	}
	return rules
}

const megabyte = 1 << 20

// malformed is stdin that no plugin can take for a configuration.
func malformed(version string) map[string][]byte {
	garbage := make([]byte, megabyte)
	rand.New(rand.NewSource(1)).Read(garbage)
	head := fmt.Sprintf(`{"cniVersion":%q,"name":%q,"type":"x","deep":`, version, network)
	return map[string][]byte{
		"empty":                        {},
		"half a configuration":         []byte(head),
		"a null":                       []byte("null"),
		"a list":                       []byte("[]"),
		"a string":                     []byte(`"x"`),
		"NUL bytes":                    make([]byte, 64),
		"1 MB of garbage":              garbage,
		"1 MB of open lists":           bytes.Repeat([]byte("["), megabyte),
		"1 MB of open objects":         bytes.Repeat([]byte(`{"a":`), megabyte/5),
		"a configuration 1 MB deep":    []byte(head + strings.Repeat("[", megabyte/2) + strings.Repeat("]", megabyte/2) + "}"),
		"two configurations":           []byte(head + "1}" + head + "1}"),
		"a configuration with a tail":  []byte(head + "1} and more"),
		"a 1 MB string without an end": append([]byte(head+`"`), bytes.Repeat([]byte("x"), megabyte)...),
	}
}

func inputMalformed(w *world) {
	p := w.newPod()
	before := w.state()
	inputs := malformed(w.newest())
	for _, what := range slices.Sorted(maps.Keys(inputs)) {
		stdin := inputs[what]
		for _, verb := range []string{"ADD", "DEL"} {
			w.refused(verb+" with "+what+" on stdin", call{command: verb, pod: p, stdin: stdin}, 5, 6, 7)
		}
	}
	for _, verb := range []string{"CHECK", "GC", "STATUS"} {
		w.refused(verb+" with garbage on stdin", call{command: verb, pod: p, stdin: []byte("{]")}, 5, 6, 7)
	}
	w.same(before, "after malformed input")
}

func inputNoName(w *world) {
	p := w.newPod()
	before := w.state()
	for _, name := range []any{nil, "", "a/b", "../escape", "-dash", "two words", "new\nline"} {
		c := w.adding(p)
		c.edit = func(conf config) { conf["name"] = name }
		w.refused(fmt.Sprintf("network name %#v", name), c, 7)
	}
	w.same(before, "after bad network names")
}

func inputBadNames(w *world) {
	p := w.newPod()
	before := w.state()
	bad := map[string][]string{
		"CNI_CONTAINERID": {"../../etc", "a/b", "-dash", ".hidden", "two words", "new\nline", "ünïcode", `{"a":1}`},
		"CNI_IFNAME":      {".", "..", "a/b", "a:b", "two words", "tab\tbed", strings.Repeat("x", 16), strings.Repeat("x", 100_000)},
	}
	for name, values := range bad {
		for _, value := range values {
			c := w.adding(p)
			c.env = []string{name + "=" + value}
			w.refused(fmt.Sprintf("%s=%.40q", name, value), c, 4)
		}
	}
	w.same(before, "after bad names")
}

func inputLongContainerID(w *world) {
	for _, size := range []int{129, 255, 4096, 100_000} {
		p := w.newPod()
		before := w.state()
		p.ContainerID = strings.Repeat("c", size)
		what := fmt.Sprintf("with a container ID of %d characters", size)
		added := w.send(w.adding(p)).exit == 0
		if r := w.send(deletion(p, nil)); added && r.exit != 0 {
			w.broken("ADD %s succeeded, and its DEL failed\n%v", what, r)
		}
		w.same(before, "after ADD and DEL "+what)
	}
}

const unknownKey = "noSuchKey"

func inputUnknownKey(w *world) {
	p := w.newPod()
	before := w.state()
	c := w.adding(p)
	c.edit = func(conf config) { w.plugin.own(conf)[unknownKey] = true }
	e := w.refused("an unknown key", c, 7)
	if !strings.Contains(e.Msg+e.Details, unknownKey) {
		w.broken("the error does not name the key %s: %s; %s", unknownKey, e.Msg, e.Details)
	}
	w.same(before, "after an unknown key")
	if hasGC(w.newest()) {
		w.refused("an unknown key in STATUS", call{command: "STATUS", edit: c.edit}, 7)
	}
}

// inputCNIKeys gives what runtimes add to a configuration, with content that means nothing to the plugin.
func inputCNIKeys(w *world) {
	p := w.newPod()
	c := w.adding(p)
	c.edit = func(conf config) {
		addTo(conf, "capabilities", "cnitest.example/unknown", true)
		addTo(conf, "runtimeConfig", "cnitest.example/unknown", map[string]any{"key": []int{1}})
		addTo(conf, "args", "cni", map[string]any{"labels": []any{map[string]any{"key": "app", "value": "cnitest"}}})
		conf["dns"] = map[string]any{}
		conf["cni.dev/attachments"] = []any{}
		conf["cni.dev/of-the-future"] = 1
	}
	w.ok("ADD with CNI's own keys", c)
	if hasGC(w.newest()) {
		w.ok("STATUS with CNI's own keys", call{command: "STATUS", edit: c.edit})
	}
	w.ok("DEL with CNI's own keys", call{command: "DEL", pod: p, edit: c.edit})
}

// addTo sets one key of an object within the configuration, which may not be there yet.
func addTo(conf config, object, key string, value any) {
	old, _ := conf[object].(map[string]any)
	conf[object] = maps.Clone(old)
	if old == nil {
		conf[object] = map[string]any{}
	}
	conf[object].(map[string]any)[key] = value
}

// inputWrongTypes gives each key a value of each JSON type that its own value is not of.
func inputWrongTypes(w *world) {
	p := w.newPod()
	before := w.state()
	try := func(what string, edit func(config)) {
		w.Helper()
		c := w.adding(p)
		c.edit = edit
		w.refused(what, c, 6, 7)
	}
	for _, key := range w.plugin.ownKeys(w.conf(w.adding(p))) {
		for _, wrong := range wrongFor(w.plugin.own(w.conf(w.adding(p)))[key]) {
			try(fmt.Sprintf("%s: %v", key, wrong), func(conf config) { w.plugin.own(conf)[key] = wrong })
		}
	}
	for _, key := range []string{"cniVersion", "name"} {
		try(key+": 5", func(conf config) { conf[key] = 5 })
	}
	w.same(before, "after values of wrong types")
}

func wrongFor(value any) []any {
	others := map[string]any{"string": "\x01", "number": 1e300, "object": map[string]any{unknownKey: 1}, "list": []any{map[string]any{unknownKey: 1}}}
	switch value.(type) {
	case string:
		delete(others, "string")
	case int, int64, uint, float64:
		delete(others, "number")
	}
	var wrong []any
	for _, kind := range []string{"string", "number", "object", "list"} {
		if v, ok := others[kind]; ok {
			wrong = append(wrong, v)
		}
	}
	return wrong
}

func inputBadPrevResult(w *world) {
	p := w.newPod()
	before := w.state()
	for what, prev := range map[string]any{
		"a string": "x", "a list": []any{}, "of an unknown version": map[string]any{"cniVersion": "9.9.9"},
		"with an address that is none":      map[string]any{"cniVersion": w.newest(), "ips": []any{map[string]any{"address": "nonsense"}}},
		"with ips of an interface too many": map[string]any{"cniVersion": w.newest(), "ips": []any{map[string]any{"address": "192.0.2.1/32", "interface": 0}}},
	} {
		if w.plugin.Stands == Chained {
			c := w.adding(p)
			c.prev = prev
			w.refused("ADD with a prevResult "+what, c)
			w.same(before, "after ADD with a prevResult "+what)
		}
		w.add(p)
		w.ok("DEL with a prevResult "+what, call{command: "DEL", pod: p, prev: prev})
		w.same(before, "after DEL with a prevResult "+what)
	}
}
