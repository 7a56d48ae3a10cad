// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace, kept by a mount of its own at path. Not below /run/netns: the first
// "ip netns add" of a machine mounts over that folder, and what is mounted there stays for ever.
type namespace struct{ path string }

// newNamespace makes a namespace with lo up, mounted at path.
func newNamespace(path string) (namespace, error) {
	n := namespace{path}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return n, fmt.Errorf("create network namespace: %w", err)
	}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return setLoopbackUp()
	})
	if err != nil {
		return n, errors.Join(fmt.Errorf("create network namespace: %w", err), n.remove())
	}
	return n, nil
}

func setLoopbackUp() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	return h.LinkSetUp(lo)
}

// remove deletes the namespace. Removing one that is gone is not an error.
func (n namespace) remove() error {
	if err := unix.Unmount(n.path, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return fmt.Errorf("unmount network namespace %s: %w", n.path, err)
	}
	if err := os.Remove(n.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete network namespace: %w", err)
	}
	return nil
}

// In runs f inside the network namespace at path, which is that of a [Host] or an [Attachment]: what f
// executes runs there, what netlink f opens belongs to it. f must not leave its goroutine.
func In(path string, f func() error) error {
	return onOwnThread(func() error {
		handle, err := netns.GetFromPath(path)
		if err != nil {
			return fmt.Errorf("open network namespace %s: %w", path, err)
		}
		defer handle.Close()
		if err := netns.Set(handle); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread of its own that may change its network namespace, and returns the
// thread to where it was. A thread that cannot return is not used again.
func onOwnThread(f func() error) error {
	runtime.LockOSThread()
	origin, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer origin.Close()
	defer func() {
		if netns.Set(origin) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}
