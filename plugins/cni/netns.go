// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// checkNetns refuses a CNI_NETNS that is no network namespace, or the plugin's own, where the verb needs
// one. Elsewhere such a path is forgotten: it outlives the namespace (an unmounted /run/netns file, a
// recycled process ID), and then must not send a DEL to the host's links.
func (p *parameters) checkNetns(required bool) error {
	own, err := isOwnNetns(p.netns)
	if err == nil && own && !p.override {
		err = errors.New("it is the network namespace of the host")
	}
	if err == nil {
		return nil
	}
	if required {
		return Wrap(types.ErrInvalidNetNS, fmt.Errorf("open CNI_NETNS %q: %w", p.netns, err))
	}
	p.netns = ""
	return nil
}

// isOwnNetns tells whether the network namespace at path is the one that this process runs in. A path
// that is no network namespace is an error.
func isOwnNetns(path string) (bool, error) {
	// O_NONBLOCK, because a FIFO would otherwise keep us for ever.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return false, errors.New("not a network namespace")
	}
	var theirs, ours unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &theirs), unix.Stat("/proc/self/ns/net", &ours)); err != nil {
		return false, err
	}
	return theirs.Dev == ours.Dev && theirs.Ino == ours.Ino, nil
}
