// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/version"
)

// config is a plugin configuration as the plugin gets it on stdin.
type config map[string]any

// cniKeys are CNI's own keys, which are never the plugin's, wherever it stands.
var cniKeys = []string{"args", "capabilities", "dns", "ipam", "runtimeConfig", "type"}

// config returns the configuration of a network in the version's form.
func (p Plugin) config(dir, network, version string) config {
	own := map[string]any{}
	if p.Conf != nil {
		own = maps.Clone(p.Conf(dir))
	}
	c := config{"cniVersion": version, "name": network, "type": p.name()}
	if p.Stands != Delegated {
		maps.Copy(c, own)
		return c
	}
	c["type"] = cmp.Or(p.MainType, "main")
	for _, key := range cniKeys {
		if value, ok := own[key]; ok {
			c[key] = value
			delete(own, key)
		}
	}
	own["type"] = p.name()
	c["ipam"] = own
	return c
}

// own returns the part of the configuration that the plugin's own keys are in.
func (p Plugin) own(c config) map[string]any {
	if ipam, ok := c["ipam"].(map[string]any); ok && p.Stands == Delegated {
		return ipam
	}
	return c
}

// ownKeys returns the plugin's own keys in the configuration, sorted.
func (p Plugin) ownKeys(c config) []string {
	keys := slices.Sorted(maps.Keys(p.own(c)))
	return slices.DeleteFunc(keys, func(key string) bool {
		return slices.Contains([]string{"cniVersion", "name", "prevResult"}, key) || slices.Contains(cniKeys, key)
	})
}

func (c config) json() []byte {
	out, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("cnitest: the configuration is no JSON: %v", err))
	}
	return out
}

func (p Plugin) name() string { return filepath.Base(p.Binary) }

// cniPath returns CNI_PATH.
func (p Plugin) cniPath() string {
	return strings.Join(append([]string{filepath.Dir(p.Binary)}, p.Path...), ":")
}

// known are the specification versions whose results this package can read, oldest first.
var known = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// supported asks the plugin for its versions and returns those that this package knows, oldest first.
func (p Plugin) supported() ([]string, error) {
	run := start{
		binary: p.Binary, env: []string{"CNI_COMMAND=VERSION", "CNI_PATH=" + p.cniPath()},
		stdin: []byte(`{"cniVersion":"1.1.0"}`), timeout: p.timeout(),
	}
	r, err := run.run(func(start func() error) error { return start() })
	if err != nil {
		return nil, err
	}
	r.command = "VERSION"
	if err := r.pure(); err != nil {
		return nil, fmt.Errorf("%w\n%v", err, r)
	}
	info, err := (&version.PluginDecoder{}).Decode(r.stdout)
	if err != nil {
		return nil, fmt.Errorf("%w\n%v", err, r)
	}
	versions := slices.DeleteFunc(slices.Clone(known), func(v string) bool {
		return !slices.Contains(info.SupportedVersions(), v)
	})
	if len(versions) == 0 {
		return nil, fmt.Errorf("it supports none of %v\n%v", known, r)
	}
	return versions, nil
}

// valid refuses what the author of a Plugin is likely to get wrong.
func (p Plugin) valid(rules []rule) error {
	if p.Stands == Chained && p.PrevResult == nil {
		return errors.New("a chained plugin needs PrevResult")
	}
	for name := range p.Except {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == name }) {
			return fmt.Errorf("%q in Except is no rule for this plugin", name)
		}
	}
	return nil
}

func (p Plugin) timeout() time.Duration { return cmp.Or(p.Timeout, 20*time.Second) }
