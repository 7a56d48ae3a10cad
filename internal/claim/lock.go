// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

const lockName = "address.lock"

// Lock keeps every other process and goroutine from what it locks for any of the addresses, until unlock
// is called. It is held while claim and kernel are brought to agree. The store's own lock is not the one
// for that: whoever changes a route may wait 20 ms in the kernel for a link that is being removed, and
// all of the node's attachments would wait for the store with him.
func Lock(dir string, addrs []netip.Addr) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	path := filepath.Join(dir, lockName)
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of addresses %s: %w", path, err)
	}
	for _, offset := range offsets(addrs) {
		if err := lockByte(fd, offset); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
	return func() { unix.Close(fd) }, nil
}

// offsets gives each address a byte of the lock file, in the one order that keeps two processes from
// waiting for each other. That two addresses share a byte is possible and harmless.
func offsets(addrs []netip.Addr) []int64 {
	var offsets []int64
	for _, addr := range addrs {
		hash := fnv.New64a()
		hash.Write(addr.AsSlice())
		offsets = append(offsets, int64(hash.Sum64()>>2))
	}
	slices.Sort(offsets)
	return slices.Compact(offsets)
}

// lockByte waits in the kernel. The lock belongs to the open file and goes with it.
func lockByte(fd int, offset int64) error {
	for {
		err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK, Start: offset, Len: 1})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
