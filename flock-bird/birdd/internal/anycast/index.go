// SPDX-License-Identifier: Apache-2.0

package anycast

import (
	"maps"
	"net/netip"
	"slices"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/plugins/cni"
)

// state is how the kernel treats one address of one attachment.
type state struct {
	// announced: the speaker announces it. preferred: the node's own routing prefers the attachment to those whose
	// pods are not ready.
	announced, preferred bool
}

// entry is what is known of one attachment.
type entry struct {
	claim claim.Claim
	state map[netip.Addr]state
}

// index holds the attachments that have anycast addresses.
type index struct {
	entries map[cni.Attachment]*entry
	pods    map[string]map[cni.Attachment]bool // by namespace/name
}

func newIndex() index {
	return index{entries: map[cni.Attachment]*entry{}, pods: map[string]map[cni.Attachment]bool{}}
}

// put takes an attachment in, or forgets one whose claim has no anycast address.
func (x index) put(a cni.Attachment, c claim.Claim, state map[netip.Addr]state) {
	x.remove(a)
	if len(c.Anycast) == 0 {
		return
	}
	x.entries[a] = &entry{c, state}
	name := c.Pod.String()
	if x.pods[name] == nil {
		x.pods[name] = map[cni.Attachment]bool{}
	}
	x.pods[name][a] = true
}

func (x index) remove(a cni.Attachment) {
	e := x.entries[a]
	if e == nil {
		return
	}
	delete(x.entries, a)
	name := e.claim.Pod.String()
	delete(x.pods[name], a)
	if len(x.pods[name]) == 0 {
		delete(x.pods, name)
	}
}

// of returns the attachments of a pod.
func (x index) of(pod string) []cni.Attachment { return slices.Collect(maps.Keys(x.pods[pod])) }
