// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/rtnl"
)

// The kernel's numbers for a namespace as another one knows it (linux/net_namespace.h).
const (
	netnsaNumber = 1
	netnsaFD     = 3
)

// NumberOf returns the number that the socket's network namespace has for the one that netns is a file
// descriptor of, -1 if it has none.
func NumberOf(c *rtnl.Conn, netns int) (int, error) {
	answer, err := c.Get(rtnl.NewRequest("get the number of", fmt.Sprint("namespace ", netns), unix.RTM_GETNSID, 0,
		&nl.RtGenMsg{}, rtnl.Uint32Attr(netnsaFD, netns)))
	if err != nil {
		return 0, err
	}
	const size = 4 // struct rtgenmsg, padded
	return rtnl.Uint32(rtnl.Find(answer[min(size, len(answer)):], netnsaNumber)), nil
}
