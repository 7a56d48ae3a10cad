// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// unseenError tells that a network namespace cannot be looked at from here, and never may be: the container runtime that
// had it may be no more.
type unseenError struct{ netns, reason string }

// Error returns the namespace and the reason.
func (e *unseenError) Error() string {
	return fmt.Sprintf("look at network namespace %s: %s", e.netns, e.reason)
}

// dead tells that nobody saw the attachment alive, or that it was cut off where nobody can look.
func (r *Reconciler) dead(alloc store.Allocation, b books, seen sightings, routes Routes) (bool, error) {
	dead, err := seen.dead(alloc)
	var unseen *unseenError
	if !errors.As(err, &unseen) {
		return dead, err
	}
	cut, err := r.cut(alloc, b, routes)
	if !cut && err == nil {
		r.memory.unseen[alloc.Attachment] = fmt.Sprintf("%s of pod %s: %v", alloc.Attachment, cmp.Or(alloc.Pod.String(), "unknown"), unseen)
	}
	return cut, err
}

// cut tells that an attachment of flock-veth's has nothing any more by which it could use its addresses: the link is gone,
// and with it the one in the pod's namespace. Its pod is gone, too. Of another plugin's the kernel does not show that.
func (r *Reconciler) cut(alloc store.Allocation, b books, routes Routes) (bool, error) {
	a := alloc.Attachment
	linked := func(o owned) bool { return o.attachment == a && o.claim.Link == rtnl.HostName(a.ContainerID, a.IfName) }
	if r.Gone == nil || !r.Gone(alloc.Pod) || routes.Linked[a] || !slices.ContainsFunc(b.claims, linked) {
		return false, nil
	}
	used, err := routes.hosts(alloc.Addresses)
	return !used && err == nil, err
}

// hosts tells whether the kernel has a route for one of the addresses alone.
func (r Routes) hosts(addresses []netip.Addr) (bool, error) {
	for _, addr := range addresses {
		if used, err := r.Host(addr); used || err != nil {
			return used, err
		}
	}
	return false, nil
}

// named is how many attachments a problem names.
const named = 3

// untold returns the problem that some attachments cannot be seen, nil if there are none.
func untold(unseen map[cni.Attachment]string) error {
	if len(unseen) == 0 {
		return nil
	}
	var all []string
	for _, text := range unseen {
		all = append(all, text)
	}
	slices.Sort(all)
	if more := len(all) - named; more > 0 {
		all = append(all[:named], fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("nobody can tell whether these live, and they keep their addresses: %s. If their container runtime is no more, "+
		"reboot the node, or release them by hand: docs/troubleshooting.md, \"A pool is full\"", strings.Join(all, "; "))
}
