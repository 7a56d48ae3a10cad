// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// requireNetns refuses a CNI_NETNS that is no network namespace, or the plugin's own. skel looks for
// the latter only, and after the verb has run.
func requireNetns(args *skel.CmdArgs) error {
	same, err := isOwnNetns(args.Netns)
	if err != nil {
		return Wrap(types.ErrInvalidNetNS, fmt.Errorf("open CNI_NETNS %q: %w", args.Netns, err))
	}
	if same && !overridden(args) {
		return Wrap(types.ErrInvalidNetNS, fmt.Errorf("open CNI_NETNS %q: it is the network namespace of the host", args.Netns))
	}
	args.NetnsOverride = "true" // the question is settled; skel need not ask it again
	return nil
}

// forgetDeadNetns empties a CNI_NETNS that is the container's no more. The path outlives the namespace
// (an unmounted /run/netns file, a recycled process ID), and then must not send a DEL to the host's links.
func forgetDeadNetns(args *skel.CmdArgs) {
	if same, err := isOwnNetns(args.Netns); err != nil || same && !overridden(args) {
		args.Netns = ""
	}
	args.NetnsOverride = "true"
}

// overridden tells whether CNI_NETNS_OVERRIDE allows the plugin's own namespace, in skel's reading of it.
func overridden(args *skel.CmdArgs) bool {
	return strings.ToUpper(args.NetnsOverride) == "TRUE" || args.NetnsOverride == "1"
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
