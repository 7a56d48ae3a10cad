// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// Netns is an open network namespace.
type Netns struct {
	path string
	fd   int
}

// OpenNetns opens the network namespace at a path and waits until no other process has it open by this
// function: requests for one pod take turns.
func OpenNetns(path string) (*Netns, error) {
	n, err := openShared(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(n.fd, unix.LOCK_EX); err != nil {
		n.Close()
		return nil, fmt.Errorf("lock network namespace %s: %w", path, err)
	}
	return n, nil
}

func openShared(path string) (*Netns, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return &Netns{path: path, fd: fd}, nil
}

// Close lets the namespace go.
func (n *Netns) Close() { unix.Close(n.fd) }

// visit calls f inside the namespace, with a netlink socket that belongs to it, and comes back to that
// of home.
func (n *Netns) visit(home *rtnl.Conn, f func(pod *rtnl.Conn) error) error {
	back, err := home.Netns()
	if err != nil {
		return err
	}
	defer unix.Close(back)
	runtime.LockOSThread()
	if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", n.path, err)
	}
	err = inside(f)
	if lost := unix.Setns(back, unix.CLONE_NEWNET); lost != nil {
		// The thread stays locked, so that nothing else ever runs on it.
		return errors.Join(err, fmt.Errorf("leave network namespace %s: %w", n.path, lost))
	}
	runtime.UnlockOSThread()
	return err
}

func inside(f func(pod *rtnl.Conn) error) error {
	pod, err := rtnl.Dial()
	if err != nil {
		return err
	}
	defer pod.Close()
	return f(pod)
}
