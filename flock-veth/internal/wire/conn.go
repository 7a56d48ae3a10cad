// SPDX-License-Identifier: Apache-2.0

// Package wire speaks rtnetlink in batches: any number of messages go to the kernel in one system call,
// which is most of what sets one attachment's cost apart from the kernel's own work. Links, addresses,
// routes and neighbours are comparable values that print as "ip" does, build their own messages and are
// what a dump returns, so that making, checking and reporting share one description.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is a netlink socket in the network namespace that its creator's thread was in.
type Conn struct {
	fd  int
	buf []byte
}

// bufSize takes the largest datagram that the kernel makes of a dump.
const bufSize = 32 << 10

// Dial opens a socket in the calling thread's network namespace. The kernel filters its dumps and
// explains its refusals in words.
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

// Close releases the socket.
func (c *Conn) Close() { unix.Close(c.fd) }

// Answer is what the kernel says to one request: an error, or the object that a get asked for.
type Answer struct {
	Data []byte
	Err  error
}

// Do sends the requests in their order in one system call and returns the first one's error that the
// kernel refused. The kernel goes on after a refusal: the requests behind it were carried out.
func (c *Conn) Do(reqs ...*Request) error {
	answers, err := c.Ask(reqs...)
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Err != nil {
			return a.Err
		}
	}
	return nil
}

// Ask sends the requests in their order in one system call and returns the answer to each. Its error
// says that the kernel could not be talked to.
func (c *Conn) Ask(reqs ...*Request) ([]Answer, error) {
	if len(reqs) == 0 {
		return nil, nil
	}
	// The last one is acknowledged; of the others only the errors and the objects come back.
	reqs[len(reqs)-1].msg.Flags |= unix.NLM_F_ACK
	if err := c.send(reqs); err != nil {
		return nil, err
	}
	answers := make([]Answer, len(reqs))
	for {
		done, err := c.receive(func(hdr unix.NlMsghdr, payload []byte) (bool, error) {
			i := int(hdr.Seq) - 1
			if i < 0 || i >= len(reqs) {
				return false, fmt.Errorf("read netlink: an answer to message %d of %d", hdr.Seq, len(reqs))
			}
			if hdr.Type != unix.NLMSG_ERROR {
				answers[i].Data = append([]byte(nil), payload...)
				return false, nil
			}
			answers[i].Err = reqs[i].refusal(hdr, payload)
			return i == len(reqs)-1, nil
		})
		if done || err != nil {
			return answers, err
		}
	}
}

// Dump returns the objects that a dump request lists. One that changed meanwhile ends in
// [nl.ErrDumpInterrupted]; the caller repeats it.
func (c *Conn) Dump(req *Request) (objects [][]byte, err error) {
	req.msg.Flags |= unix.NLM_F_DUMP
	if err := c.send([]*Request{req}); err != nil {
		return nil, err
	}
	interrupted := false
	for {
		done, err := c.receive(func(hdr unix.NlMsghdr, payload []byte) (bool, error) {
			interrupted = interrupted || hdr.Flags&unix.NLM_F_DUMP_INTR != 0
			if hdr.Type == unix.NLMSG_DONE || hdr.Type == unix.NLMSG_ERROR {
				return true, req.refusal(hdr, payload)
			}
			objects = append(objects, append([]byte(nil), payload...))
			return false, nil
		})
		if err == nil && done && interrupted {
			err = nl.ErrDumpInterrupted
		}
		if done || err != nil {
			return objects, err
		}
	}
}

func (c *Conn) send(reqs []*Request) error {
	var batch []byte
	for i, r := range reqs {
		r.msg.Seq = uint32(i + 1)
		batch = append(batch, r.msg.Serialize()...)
	}
	if _, err := unix.Write(c.fd, batch); err != nil {
		return fmt.Errorf("write netlink: %w", err)
	}
	return nil
}

// receive hands the messages of one datagram to f until f says that the last one has come.
func (c *Conn) receive(f func(hdr unix.NlMsghdr, payload []byte) (bool, error)) (done bool, err error) {
	n, err := unix.Read(c.fd, c.buf)
	if err != nil {
		return false, fmt.Errorf("read netlink: %w", err)
	}
	for b := c.buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
		hdr := header(b)
		if int(hdr.Len) < unix.NLMSG_HDRLEN || int(hdr.Len) > len(b) {
			return false, errors.New("read netlink: a message is cut short")
		}
		if done, err := f(hdr, b[unix.NLMSG_HDRLEN:hdr.Len]); done || err != nil {
			return done, err
		}
		b = b[min(align(int(hdr.Len)), len(b)):]
	}
	return false, nil
}

func header(b []byte) unix.NlMsghdr {
	return unix.NlMsghdr{
		Len:   binary.NativeEndian.Uint32(b),
		Type:  binary.NativeEndian.Uint16(b[4:]),
		Flags: binary.NativeEndian.Uint16(b[6:]),
		Seq:   binary.NativeEndian.Uint32(b[8:]),
		Pid:   binary.NativeEndian.Uint32(b[12:]),
	}
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
