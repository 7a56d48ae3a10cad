// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// Load reads a NodeConfig from a YAML file. It refuses an unknown or repeated key, by name; what the
// values are worth is for [NodeConfig.Parse] to say.
func Load(path string) (*NodeConfig, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read NodeConfig: %w", err)
	}
	config, err := Decode(text)
	if err != nil {
		return nil, fmt.Errorf("read NodeConfig %s: %w", path, err)
	}
	return config, nil
}

// decodeNoise is of no use to who wrote YAML.
var decodeNoise = strings.NewReplacer("error unmarshaling JSON: ", "", "error converting YAML to JSON: ", "",
	"while decoding JSON: ", "", "json: ", "", "yaml: ", "")

// Decode reads a NodeConfig from YAML, as strictly as [Load].
func Decode(text []byte) (*NodeConfig, error) {
	config := new(NodeConfig)
	if err := yaml.UnmarshalStrict(text, config); err != nil {
		return nil, fmt.Errorf("decode YAML: %s", decodeNoise.Replace(err.Error()))
	}
	if config.APIVersion != APIVersion || config.Kind != Kind {
		return nil, fmt.Errorf("apiVersion %.60q and kind %.60q: write apiVersion: %s and kind: %s",
			config.APIVersion, config.Kind, APIVersion, Kind)
	}
	return config, nil
}
