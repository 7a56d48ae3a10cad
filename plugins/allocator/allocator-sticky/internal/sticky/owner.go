// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"fmt"
	"strconv"
	"strings"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/plugins/allocator"
)

// ownerOf returns which pod of which StatefulSet it is, by its controller: names alone prove nothing. The error of any
// other pod matches [allocator.ErrRefused].
func ownerOf(p allocator.Pod) (v1alpha1.StickyOwner, error) {
	refused := fmt.Errorf("%w: %s/%s is no pod of a StatefulSet: give it a pool of another allocator by the annotations "+
		"flock.fritzlab.net/cidr6 and cidr4", allocator.ErrRefused, p.Namespace, p.Name)
	if !strings.HasPrefix(p.Owner.APIVersion, "apps/") || p.Owner.Kind != "StatefulSet" {
		return v1alpha1.StickyOwner{}, refused
	}
	text, ok := strings.CutPrefix(p.Name, p.Owner.Name+"-")
	ordinal, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil || strconv.FormatInt(ordinal, 10) != text || ordinal < 0 {
		return v1alpha1.StickyOwner{}, refused
	}
	return v1alpha1.StickyOwner{Namespace: p.Namespace, StatefulSet: p.Owner.Name, Ordinal: int32(ordinal)}, nil
}

// title names the pod.
func title(o v1alpha1.StickyOwner) string {
	return fmt.Sprintf("%s/%s-%d", o.Namespace, o.StatefulSet, o.Ordinal)
}
