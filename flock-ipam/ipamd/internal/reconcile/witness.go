// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Witness looks at one kind of evidence and returns what it saw. Its error means that it could not look,
// or not at all of it, and then nobody is taken for dead.
type Witness func(context.Context) (Sighting, error)

// Sighting tells whether an attachment was seen alive. An error means that nobody knows, and then it is
// taken for alive.
type Sighting func(store.Allocation) (bool, error)

// Netns sees the attachments whose network namespace is there.
func Netns(context.Context) (Sighting, error) { return NetnsAlive, nil }

// NetnsAlive tells whether the attachment's network namespace is there. It looks at the path as it is in the mount
// namespace of this process; where that tells nothing there is an error.
func NetnsAlive(alloc store.Allocation) (bool, error) {
	alive, err := alloc.NetnsAlive()
	if err != nil || alive || alloc.Netns == "" {
		return alive, err
	}
	folder := filepath.Dir(alloc.Netns)
	if strings.HasPrefix(folder, "/proc/") {
		return false, seesProcesses(alloc.Netns)
	}
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return false, &unseenError{alloc.Netns, fmt.Sprintf("there is no %s here: mount it", folder)}
	}
	return false, nil
}

// hostPIDs is the kernel's name for the first of its PID namespaces.
const hostPIDs = "pid:[4026531836]"

// seesProcesses returns an error where a path of /proc means another process than to the container runtime,
// or none.
func seesProcesses(netns string) error {
	if pids, err := os.Readlink("/proc/self/ns/pid"); err != nil || pids != hostPIDs {
		return &unseenError{netns, fmt.Sprintf("the node's processes cannot be seen from this PID namespace (%s): use the host's", pids)}
	}
	return nil
}

// Links sees the attachments whose links are in the network namespace of this process.
func Links(context.Context) (Sighting, error) {
	links, err := rebuild.Links()
	if err != nil {
		return nil, err
	}
	seen := map[cni.Attachment]bool{}
	for _, a := range links {
		seen[a] = true
	}
	return func(alloc store.Allocation) (bool, error) { return seen[alloc.Attachment], nil }, nil
}

// sightings is what all witnesses saw.
type sightings []Sighting

func ask(ctx context.Context, witnesses []Witness) (sightings, error) {
	var all sightings
	for _, witness := range witnesses {
		sighting, err := witness(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, sighting)
	}
	return all, nil
}

// dead tells that nobody saw the attachment alive.
func (all sightings) dead(alloc store.Allocation) (bool, error) {
	for _, sighting := range all {
		if alive, err := sighting(alloc); alive || err != nil {
			return false, err
		}
	}
	return true, nil
}
