// SPDX-License-Identifier: Apache-2.0

// Package cnitest holds any CNI plugin, whatever it is written in, to the CNI specification 1.1.0 and to
// what flock asks of a plugin beyond it. It runs the plugin's executable as a container runtime does, in
// network namespaces of its own, without libcni in between, and compares the kernel before and after.
//
//	func TestConformance(t *testing.T) {
//		cnitest.Run(t, cnitest.Plugin{
//			Binary: "/opt/cni/bin/example",
//			Conf:   func(dir string) map[string]any { return map[string]any{"stateDir": dir} },
//		})
//	}
//
// It needs root, and iproute2's ip. Each rule is a subtest of its own; a failure quotes the rule and
// where it is written. [Rules] lists those that apply to a plugin.
package cnitest

import (
	"testing"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// Position is where in a network configuration a plugin stands.
type Position int

const (
	// Originating plugins come first and get no prevResult.
	Originating Position = iota
	// Chained plugins get a prevResult and must pass it on.
	Chained
	// Delegated plugins are run by a main plugin, whose configuration holds theirs as "ipam".
	Delegated
)

// Plugin says what is tested. Binary is all that a plugin without configuration needs.
type Plugin struct {
	// Binary is the executable's path. Its file name is the configuration's "type".
	Binary string
	Stands Position
	// Conf returns the plugin's own keys of the configuration, or of the "ipam" section for a delegated
	// plugin. Keys that CNI itself defines (capabilities, runtimeConfig, args, dns, ipam, type) go where
	// CNI wants them. dir is a fresh directory for the plugin's state. A nil Conf is an empty one.
	Conf func(dir string) map[string]any
	// Setup prepares the host, a fresh network namespace with nothing but lo in it. May be nil.
	Setup func(Host) error
	// PrevResult makes what the plugins before this one make for the attachment, and returns their
	// result; a chained plugin needs it. All that it makes must vanish with the container's namespace,
	// or be left out of what Observe returns. It is asked once for each attachment.
	PrevResult func(Host, Attachment) (*current.Result, error)
	// Observe returns what the plugin owns outside the kernel's network state, a line for each thing: the
	// records of its store, for example. May be nil. Links, addresses, routes, rules, nexthops and
	// permanent neighbours are compared without it.
	Observe func(Host) ([]string, error)
	// Break lists ways to damage an attachment after its ADD; CHECK must find each.
	Break []Difference
	// Unready lists ways to make the plugin unfit to serve; STATUS must report each.
	Unready []Unready
	// Versions are the specification versions that the plugin must support. nil: whatever it says.
	Versions []string
	// Args is CNI_ARGS.
	Args string
	// Path lists directories of other plugins that this one delegates to. Binary's own is always one.
	Path []string
	// MainType is the "type" of the configuration around a delegated plugin; "main" unless set.
	MainType string
	// Warm adds and deletes one attachment before each rule looks, for a plugin that keeps something
	// for the whole node, as bridge keeps its bridge.
	Warm bool
	// Except names rules that the plugin does not claim to keep, each with the reason.
	Except map[string]string
	// Timeout bounds one run of the plugin; 20 seconds unless set.
	Timeout time.Duration
}

// Host is the node that one rule plays on. Hooks that get one run inside its network namespace.
type Host struct {
	// Dir is the directory that Conf was given.
	Dir string
	// Netns is the path of the host's network namespace.
	Netns string
}

// Attachment is one interface of one container.
type Attachment struct {
	Network     string
	ContainerID string
	IfName      string
	// Netns is the path of the container's network namespace.
	Netns string
	// Index is different for each attachment of a host: 1, 2, 3 and so on.
	Index int
}

// Difference is one way to damage an attachment.
type Difference struct {
	Name string
	// Do makes the damage.
	Do func(Host, Attachment) error
	// Want is what CHECK's error must mention; anything if empty.
	Want string
}

// Unready is one way to make STATUS fail.
type Unready struct {
	Name string
	// Conf changes the configuration in place, and Do the host; either may be nil.
	Conf func(conf map[string]any)
	Do   func(Host) error
	// Code is the error code that STATUS must give: 50 or 51.
	Code uint
}

// Run checks every rule that applies to the plugin, each as a subtest under the rule's name.
func Run(t *testing.T, p Plugin) {
	t.Helper()
	versions, err := p.supported()
	if err != nil {
		t.Fatalf("ask %s for its versions: %v", p.Binary, err)
	}
	rules := rulesFor(p, versions)
	if err := p.valid(rules); err != nil {
		t.Fatalf("read cnitest.Plugin: %v", err)
	}
	for _, r := range rules {
		if why, excepted := p.Except[r.name]; excepted {
			t.Logf("%s: not claimed: %s", r.name, why)
			continue
		}
		t.Run(r.name, func(t *testing.T) { r.check(t, p, versions) })
	}
}

// Rule is one thing that a plugin must do.
type Rule struct {
	// Name is the subtest's name, Says the rule in a sentence, and Spec where it is written.
	Name, Says, Spec string
}

// Rules returns the rules that Run would check, in its order. The plugin is run to learn its versions.
func Rules(p Plugin) ([]Rule, error) {
	versions, err := p.supported()
	if err != nil {
		return nil, err
	}
	var list []Rule
	for _, r := range rulesFor(p, versions) {
		list = append(list, Rule{Name: r.name, Says: r.says, Spec: r.spec})
	}
	return list, nil
}
