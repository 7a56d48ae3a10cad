// SPDX-License-Identifier: Apache-2.0

// Package allocatortest holds any allocator to the contract of package allocator.
//
//	func TestConformance(t *testing.T) {
//		allocatortest.Run(t, allocatortest.Options{Start: allocatortest.Program("/usr/libexec/flock/allocator-example")})
//	}
//
// Each rule is a subtest of its own, on pools of its own; a failure quotes the rule. [Rules] lists them.
package allocatortest

import (
	"fmt"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// Options say what is tested. Start is all that an allocator needs that serves any pod.
type Options struct {
	// Start starts the allocator with all that it has remembered, and returns it with what ends it at once, as a
	// crash does. [Program] starts a program.
	Start func() (a allocator.Allocator, kill func(), err error)
	// Pod returns a pod that the allocator serves, another one for each number below 100. nil: pods of no owner.
	Pod func(number int) allocator.Pod
	// Refused returns a pod that the allocator does not serve. nil: it serves all.
	Refused func() allocator.Pod
	// Nodes are the names of two nodes; "node-a" and "node-b" unless set.
	Nodes [2]string
	// Except names rules that the allocator does not claim to keep, each with the reason.
	Except map[string]string
	// Timeout bounds one call; 10 seconds unless set.
	Timeout time.Duration
}

// Run checks every rule, each as a subtest under the rule's name.
func Run(t *testing.T, o Options) {
	t.Helper()
	o = o.complete()
	for _, r := range rulesFor(o) {
		if why, excepted := o.Except[r.name]; excepted {
			t.Logf("%s: not claimed: %s", r.name, why)
			continue
		}
		t.Run(r.name, func(t *testing.T) { r.check(t, o) })
	}
}

// Rule is one thing that an allocator must do.
type Rule struct {
	// Name is the subtest's name, Says the rule in a sentence.
	Name, Says string
}

// Rules returns the rules that Run would check, in its order.
func Rules(o Options) []Rule {
	var list []Rule
	for _, r := range rulesFor(o) {
		list = append(list, Rule{Name: r.name, Says: r.says})
	}
	return list
}

func (o Options) complete() Options {
	if o.Pod == nil {
		o.Pod = func(number int) allocator.Pod {
			return allocator.Pod{Namespace: "default", Name: fmt.Sprintf("pod-%d", number), UID: fmt.Sprintf("uid-%d", number)}
		}
	}
	if o.Nodes == [2]string{} {
		o.Nodes = [2]string{"node-a", "node-b"}
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}
