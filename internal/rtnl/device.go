// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// What follows waits for nobody's lock in the kernel, which a netlink message about links does.

// LinkIndex returns the index of the link with the name, 0 if there is none.
func (c *Conn) LinkIndex(name string) (int, error) {
	ifreq, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("look up link %q: no possible name of a link", name)
	}
	err = unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, ifreq)
	if err == unix.ENODEV {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up link %s: %w", name, err)
	}
	return int(ifreq.Uint32()), nil
}

// LinkName returns the name of the link of an index.
func (c *Conn) LinkName(index int) (string, error) {
	ifreq, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	ifreq.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFNAME, ifreq); err != nil {
		return "", fmt.Errorf("get the name of link %d: %w", index, err)
	}
	return ifreq.Name(), nil
}

// LinkMTU returns the MTU of the link of an index.
func (c *Conn) LinkMTU(index int) (int, error) {
	name, err := c.LinkName(index)
	if err != nil {
		return 0, err
	}
	ifreq, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFMTU, ifreq); err != nil {
		return 0, fmt.Errorf("get the MTU of link %s: %w", name, err)
	}
	return int(ifreq.Uint32()), nil
}

// Netns returns a file descriptor of the socket's network namespace, for the caller to close.
func (c *Conn) Netns() (int, error) {
	fd, err := unix.IoctlRetInt(c.fd, unix.SIOCGSKNS)
	if err != nil {
		return 0, fmt.Errorf("get the network namespace of a netlink socket: %w", err)
	}
	return fd, nil
}
