// SPDX-License-Identifier: Apache-2.0

package anycast

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/plugins/cni"
)

// compare takes in what the store and the kernel show, and settles every attachment.
func (k *Keeper) compare() error {
	fresh, err := k.read()
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.index = fresh
	k.mu.Unlock()
	var errs []error
	byName := func(a, b cni.Attachment) int { return strings.Compare(a.String(), b.String()) }
	for _, a := range slices.SortedFunc(maps.Keys(fresh.entries), byName) {
		errs = append(errs, k.settle(a))
	}
	return some(errs)
}

func (k *Keeper) read() (index, error) {
	fresh := newIndex()
	claims, err := k.board.Keeper().All()
	if err != nil {
		return fresh, err
	}
	announced, err := k.board.Announcements(claims)
	if err != nil {
		return fresh, err
	}
	preferred, err := k.preferences()
	if err != nil {
		return fresh, err
	}
	for a, c := range claims {
		is := map[netip.Addr]state{}
		for _, addr := range c.Anycast {
			is[addr] = state{announced: announced.Has(c, addr), preferred: preferred[preference{addr, c.LinkIndex}]}
		}
		fresh.put(a, c, is)
	}
	return fresh, nil
}

// Snapshot returns the anycast addresses of the node's attachments in their order: the pods that carry
// each, whether they are ready or not, and whether the node announces it.
func (k *Keeper) Snapshot() []v1alpha1.AnycastStatus {
	all := map[netip.Addr]*v1alpha1.AnycastStatus{}
	k.mu.Lock()
	for _, e := range k.index.entries {
		for _, addr := range e.claim.Anycast {
			if all[addr] == nil {
				all[addr] = &v1alpha1.AnycastStatus{Address: addr.String()}
			}
			all[addr].Announced = all[addr].Announced || e.state[addr].announced
			all[addr].Pods = append(all[addr].Pods, podNames(e.claim)...)
		}
	}
	k.mu.Unlock()
	list := make([]v1alpha1.AnycastStatus, 0, len(all))
	for _, addr := range slices.SortedFunc(maps.Keys(all), netip.Addr.Compare) {
		all[addr].Pods = slices.Compact(slices.Sorted(slices.Values(all[addr].Pods)))
		list = append(list, *all[addr])
	}
	return list
}

// podNames returns no name for an attachment of no pod.
func podNames(c claim.Claim) []string {
	if name := c.Pod.String(); name != "" {
		return []string{name}
	}
	return nil
}
