// SPDX-License-Identifier: Apache-2.0

// Package datagram is how a stage tells a daemon of something that nobody waits for: a JSON object in a
// datagram to a socket in stateDir.
package datagram

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Send sends the message to the socket of that path, if somebody listens there. It never waits and never
// fails: what is lost with a daemon that does not run, or does not keep up, must do no harm.
func Send(path string, message Message) {
	text, err := json.Marshal(message)
	if err != nil {
		return
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.Sendto(fd, text, 0, &unix.SockaddrUnix{Name: path})
}

// Message is what is sent: Complete tells whether it says what it must.
type Message interface{ Complete() bool }

// Listener receives messages of one type.
type Listener[T Message] struct {
	conn *net.UnixConn
	buf  []byte
}

// Listen makes the socket, in the place of the one that an earlier daemon left.
func Listen[T Message](path string) (*Listener[T], error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for datagrams: %w", err)
	}
	return &Listener[T]{conn: conn, buf: make([]byte, 64<<10)}, nil
}

// Receive waits for the next complete message; any other datagram is skipped. After [Listener.Close] the
// error matches [net.ErrClosed].
func (l *Listener[T]) Receive() (T, error) {
	for {
		n, err := l.conn.Read(l.buf)
		if err != nil {
			var none T
			return none, fmt.Errorf("receive a datagram: %w", err)
		}
		var message T
		if json.Unmarshal(l.buf[:n], &message) == nil && message.Complete() {
			return message, nil
		}
	}
}

// Close stops Receive. The socket stays, for the next daemon to replace.
func (l *Listener[T]) Close() error { return l.conn.Close() }
