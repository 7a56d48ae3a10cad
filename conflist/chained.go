// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// references are the reference plugins that a name alone configures: each lists the capability through
// which the runtime hands it the pod's wishes.
var references = map[string]string{
	"bandwidth": `{"type":"bandwidth","capabilities":{"bandwidth":true}}`,
	"portmap":   `{"type":"portmap","capabilities":{"portMappings":true},"snat":true}`,
	"tuning":    `{"type":"tuning","capabilities":{"mac":true}}`,
}

// Chainable returns the names of the reference plugins that need no configuration of the user's, sorted.
func Chainable() []string { return slices.Sorted(maps.Keys(references)) }

// Types returns the executables that the list names, in the order of the chain.
func (l List) Types() ([]string, error) {
	var types []string
	for i, plugin := range l.Plugins {
		name, err := pluginType(plugin)
		if err != nil {
			return nil, fmt.Errorf("read plugin %d of the conflist: %w", i, err)
		}
		types = append(types, name)
	}
	return types, nil
}

// chained returns the plugin configuration that a name or a JSON object of the user stands for.
func chained(given string) (json.RawMessage, error) {
	if known, ok := references[given]; ok {
		return json.RawMessage(known), nil
	}
	if given == "" || given[0] != '{' {
		return nil, fmt.Errorf("chained plugin %q is none of %q; give any other as a JSON object with its configuration", given, Chainable())
	}
	name, err := pluginType(json.RawMessage(given))
	if err != nil {
		return nil, fmt.Errorf("chained plugin %s: %w", given, err)
	}
	if slices.Contains(Stages, name) {
		return nil, fmt.Errorf("chained plugin %s: %s has its place in the chain already", given, name)
	}
	return json.RawMessage(given), nil
}

// executable keeps a plugin's type from reaching out of the runtime's folder.
var executable = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func pluginType(plugin json.RawMessage) (string, error) {
	var conf struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(plugin, &conf); err != nil {
		return "", err
	}
	if !executable.MatchString(conf.Type) {
		return "", fmt.Errorf("type %q is no executable's name", conf.Type)
	}
	return conf.Type, nil
}
