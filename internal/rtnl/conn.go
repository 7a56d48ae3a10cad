// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is a netlink connection for the messages that the netlink package does not know: routes through
// nexthop objects, and the objects themselves.
type Conn struct {
	sockets map[int]*nl.SocketHandle
}

// Dial opens a connection in the calling thread's network namespace. The kernel filters its dumps
// (strict checking) and says in words what it refuses.
func Dial() (*Conn, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	c := &Conn{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}
	if err := c.prepare(socket); err != nil {
		c.Close()
		return nil, fmt.Errorf("prepare netlink: %w", err)
	}
	return c, nil
}

func (c *Conn) prepare(socket *nl.NetlinkSocket) error {
	if err := socket.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
		return err
	}
	if err := socket.SetExtAck(true); err != nil {
		return err
	}
	return unix.SetsockoptInt(socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
}

// Close closes the connection.
func (c *Conn) Close() { c.socket().Close() }

func (c *Conn) socket() *nl.NetlinkSocket { return c.sockets[unix.NETLINK_ROUTE].Socket }

// Send sends one message, its parts in order, and waits for the kernel's answer. A refusal is a
// [unix.Errno] with the kernel's words, if it has any.
func (c *Conn) Send(msgType, flags int, parts ...nl.NetlinkRequestData) error {
	_, err := c.request(msgType, flags|unix.NLM_F_ACK, parts).Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// Get sends one message and returns the bodies of the messages that answer it.
func (c *Conn) Get(msgType int, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	return c.request(msgType, 0, parts).Execute(unix.NETLINK_ROUTE, 0)
}

// List asks for a dump and returns the bodies of its messages, all of them or an error (see [Dump]).
func (c *Conn) List(msgType int, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	// The nl package panics over the kernel's words where they end a dump.
	if err := c.socket().SetExtAck(false); err != nil {
		return nil, err
	}
	defer c.socket().SetExtAck(true)
	return Dump(func() ([][]byte, error) {
		return c.request(msgType, unix.NLM_F_DUMP, parts).Execute(unix.NETLINK_ROUTE, 0)
	})
}

func (c *Conn) request(msgType, flags int, parts []nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(msgType, flags)
	req.Data, req.Sockets = parts, c.sockets
	return req
}

// LinkIndex returns the index of the link with the name, 0 if there is none.
func (c *Conn) LinkIndex(name string) (int, error) {
	ifreq, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("look up link %q: no possible name of a link", name)
	}
	err = unix.IoctlIfreq(c.socket().GetFd(), unix.SIOCGIFINDEX, ifreq)
	if err == unix.ENODEV {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up link %s: %w", name, err)
	}
	return int(ifreq.Uint32()), nil
}
