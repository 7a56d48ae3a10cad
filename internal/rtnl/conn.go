// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is a netlink socket in the network namespace that its creator's thread was in. Any number of
// messages go to the kernel in one system call, which is most of what sets one attachment's cost apart
// from the kernel's own work. Goroutines may share it.
type Conn struct {
	fd  int
	mu  sync.Mutex // held from a request to its answer
	seq uint32     // of the last message sent
	buf []byte
}

// bufSize takes the largest datagram that the kernel makes of a dump.
const bufSize = 32 << 10

// Dial opens a socket in the calling thread's network namespace. The kernel filters its dumps (strict
// checking) and explains its refusals in words.
func Dial() (*Conn, error) {
	// Nothing ever blocks: the kernel has queued its answers when the request's system call returns.
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1),
		unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}), // to the kernel, and from nobody else
	)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up netlink: %w", err)
	}
	return &Conn{fd: fd, buf: make([]byte, bufSize)}, nil
}

// Close closes the socket.
func (c *Conn) Close() { unix.Close(c.fd) }

// Answer is what the kernel says to one request: an error, or the object that a get asked for.
type Answer struct {
	Data []byte
	Err  error
}

// Is tells whether the kernel refused the request with one of the errors.
func (a Answer) Is(errs ...unix.Errno) bool {
	for _, err := range errs {
		if errors.Is(a.Err, err) {
			return true
		}
	}
	return false
}

// Do sends the requests in their order in one system call and returns the first one's error that the
// kernel refused. The kernel goes on after a refusal: the requests behind it were carried out.
func (c *Conn) Do(reqs ...*Request) error {
	answers, err := c.Ask(reqs...)
	for _, a := range answers {
		if err == nil {
			err = a.Err
		}
	}
	return err
}

// Get sends one request and returns the object that answers it.
func (c *Conn) Get(req *Request) ([]byte, error) {
	answers, err := c.Ask(req)
	if err != nil {
		return nil, err
	}
	return answers[0].Data, answers[0].Err
}

// Ask sends the requests in their order in one system call and returns the answer to each. Its error
// says that the kernel could not be talked to.
func (c *Conn) Ask(reqs ...*Request) ([]Answer, error) {
	if len(reqs) == 0 {
		return nil, nil
	}
	// The last one is acknowledged; of the others only the errors and the objects come back.
	last := len(reqs) - 1
	reqs[last].msg.Flags |= unix.NLM_F_ACK
	answers := make([]Answer, len(reqs))
	err := c.exchange(reqs, func(i int, m syscall.NetlinkMessage) (bool, error) {
		if m.Header.Type != unix.NLMSG_ERROR {
			answers[i].Data = bytes.Clone(m.Data)
			return false, nil
		}
		answers[i].Err = reqs[i].refusal(m)
		return i == last, nil
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// Dump returns the objects that a request lists, all of them or an error (see [Dump]).
func (c *Conn) Dump(req *Request) ([][]byte, error) {
	req.msg.Flags |= unix.NLM_F_DUMP
	return Dump(func() ([][]byte, error) { return c.dump(req) })
}

func (c *Conn) dump(req *Request) (objects [][]byte, err error) {
	interrupted := false
	err = c.exchange([]*Request{req}, func(_ int, m syscall.NetlinkMessage) (bool, error) {
		interrupted = interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
		if m.Header.Type == unix.NLMSG_DONE || m.Header.Type == unix.NLMSG_ERROR {
			return true, req.refusal(m)
		}
		objects = append(objects, bytes.Clone(m.Data))
		return false, nil
	})
	if err == nil && interrupted {
		err = req.wrap(nl.ErrDumpInterrupted)
	}
	return objects, err
}

// List returns the objects that a request lists as parse reads them, all of them or an error.
func List[T any](c *Conn, req *Request, parse func([]byte) (T, error)) ([]T, error) {
	objects, err := c.Dump(req)
	if err != nil {
		return nil, err
	}
	items := make([]T, len(objects))
	for i, object := range objects {
		if items[i], err = parse(object); err != nil {
			return nil, req.wrap(err)
		}
	}
	return items, nil
}

// exchange sends the requests and hands f each message that comes back, with the index of the request
// that it answers, until f says that the last one has come.
func (c *Conn) exchange(reqs []*Request, f func(i int, m syscall.NetlinkMessage) (done bool, err error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, err := c.send(reqs)
	if err != nil {
		return fmt.Errorf("write netlink: %w", err)
	}
	for {
		messages, err := c.receive()
		if err != nil {
			return fmt.Errorf("read netlink: %w", err)
		}
		for _, m := range messages {
			i := m.Header.Seq - first
			if int(i) >= len(reqs) {
				continue // of an exchange that failed
			}
			if done, err := f(int(i), m); done || err != nil {
				return err
			}
		}
	}
}

// send returns the first request's sequence number; the others' follow.
func (c *Conn) send(reqs []*Request) (first uint32, err error) {
	first = c.seq + 1
	var batch []byte
	for _, r := range reqs {
		c.seq++
		r.msg.Seq = c.seq
		batch = append(batch, r.msg.Serialize()...)
	}
	_, err = unix.Write(c.fd, batch)
	return first, err
}

// receive returns the messages of one datagram, which stay as they are until the next call.
func (c *Conn) receive() ([]syscall.NetlinkMessage, error) {
	n, err := unix.Read(c.fd, c.buf)
	if err != nil {
		return nil, err
	}
	return syscall.ParseNetlinkMessage(c.buf[:n])
}
