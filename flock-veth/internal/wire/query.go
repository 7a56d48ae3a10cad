// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Name returns the name of the link of an index.
func (c *Conn) Name(index int) (string, error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	ifr.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFNAME, ifr); err != nil {
		return "", fmt.Errorf("get the name of link %d: %w", index, err)
	}
	return ifr.Name(), nil
}

// MTU returns the MTU of the link of an index. Unlike a netlink message it waits for nobody's lock.
func (c *Conn) MTU(index int) (int, error) {
	name, err := c.Name(index)
	if err != nil {
		return 0, err
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFMTU, ifr); err != nil {
		return 0, fmt.Errorf("get the MTU of link %s: %w", name, err)
	}
	return int(ifr.Uint32()), nil
}

// Netns returns a file descriptor of the socket's network namespace, for the caller to close.
func (c *Conn) Netns() (int, error) {
	fd, err := unix.IoctlRetInt(c.fd, unix.SIOCGSKNS)
	if err != nil {
		return 0, fmt.Errorf("get the network namespace of a netlink socket: %w", err)
	}
	return fd, nil
}

// The kernel's numbers for a namespace as another one knows it (linux/net_namespace.h).
const (
	netnsaNumber = 1
	netnsaFD     = 3
)

// NumberOf returns the number that the socket's network namespace has for the one that netns is a file
// descriptor of, -1 if it has none.
func (c *Conn) NumberOf(netns int) (int, error) {
	answers, err := c.Ask(newRequest("get the number of", fileDescriptor(netns), unix.RTM_GETNSID, 0,
		&nl.RtGenMsg{}, uint32Attr(netnsaFD, netns)))
	if err != nil {
		return 0, err
	}
	if answers[0].Err != nil {
		return 0, answers[0].Err
	}
	const size = 4 // struct rtgenmsg, padded
	return uint32Of(find(answers[0].Data[min(size, len(answers[0].Data)):], netnsaNumber)), nil
}

type fileDescriptor int

func (fd fileDescriptor) String() string { return "namespace " + strconv.Itoa(int(fd)) }
