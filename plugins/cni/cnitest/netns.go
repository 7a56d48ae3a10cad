// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a named network namespace with lo up.
type namespace struct{ name string }

var namespaces atomic.Int64

func newNamespace(kind string) (namespace, error) {
	n := namespace{fmt.Sprintf("flt-cnitest-%d-%s%d", os.Getpid(), kind, namespaces.Add(1))}
	err := onOwnThread(func() error {
		handle, err := netns.NewNamed(n.name)
		if err != nil {
			return err
		}
		defer handle.Close()
		return setLoopbackUp()
	})
	if err != nil {
		return n, errors.Join(fmt.Errorf("create network namespace %s: %w", n.name, err), n.remove())
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

// path returns the path that CNI_NETNS holds.
func (n namespace) path() string { return "/run/netns/" + n.name }

// remove deletes the namespace. Removing one that is gone is not an error.
func (n namespace) remove() error {
	if err := netns.DeleteNamed(n.name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete network namespace %s: %w", n.name, err)
	}
	return nil
}

// do runs f inside the namespace: what f starts stays in it, what f opens belongs to it.
func (n namespace) do(f func() error) error {
	return onOwnThread(func() error {
		handle, err := netns.GetFromName(n.name)
		if err != nil {
			return fmt.Errorf("open network namespace %s: %w", n.name, err)
		}
		defer handle.Close()
		if err := netns.Set(handle); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", n.name, err)
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
