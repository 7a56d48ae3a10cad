// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/cni"
)

// State is how far an attachment has come.
type State string

const (
	// Pending: addresses are allocated, the attachment is not finished.
	Pending State = "pending"
	// Committed: the attachment was finished and uses its addresses.
	Committed State = "committed"
)

// Allocation is the addresses of one attachment.
type Allocation struct {
	Attachment cni.Attachment `json:"attachment"`
	State      State          `json:"state"`
	Pod        cni.Pod        `json:"pod,omitzero"`
	// Netns is the path of the container's network namespace.
	Netns string `json:"netns,omitempty"`
	// Addresses are owned: no other attachment has them.
	Addresses []netip.Addr `json:"addresses"`
	// Anycast addresses are shared between attachments and so not owned.
	Anycast []netip.Addr `json:"anycast,omitempty"`
	// Allocated is when the ADD began that allocated, CommittedAt when the attachment was finished: wall-clock
	// times, for people.
	Allocated   time.Time `json:"allocated"`
	CommittedAt time.Time `json:"committedAt,omitzero"`
}

// NetnsAlive tells whether the container's network namespace is still there: false when nothing is at
// its path, or something else, such as the file that a bind mount has left. An error tells that nobody knows.
func (a Allocation) NetnsAlive() (bool, error) {
	var stat unix.Statfs_t
	err := unix.Statfs(a.Netns, &stat)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at network namespace %s: %w", a.Netns, err)
	}
	return stat.Type == unix.NSFS_MAGIC, nil
}

// ErrFull tells that the store's file system has no room.
var ErrFull = errors.New("no space left for the store")

// TakenError tells that an address belongs to another attachment.
type TakenError struct {
	Address netip.Addr
	Owner   cni.Attachment
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("address %s belongs to attachment %s", e.Address, e.Owner)
}
