// SPDX-License-Identifier: Apache-2.0

// Package hint is the datagram by which flock-bird tells birdd of an attachment that has come or gone.
// Nobody waits for it, and birdd's regular comparison makes a lost one harmless.
package hint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/cni"
)

// SocketName is the name of birdd's socket in stateDir.
const SocketName = "birdd.sock"

// Hint says that an attachment has come, or gone: a JSON object in a datagram of its own.
type Hint struct {
	Attachment cni.Attachment `json:"attachment"`
	// Gone is false after an ADD and true after a DEL.
	Gone bool `json:"gone,omitempty"`
}

// Send sends the hint to the birdd of the state folder, if there is one. It never waits and never fails:
// a birdd that does not run, or does not keep up, finds out by itself.
func Send(stateDir string, h Hint) {
	text, err := json.Marshal(h)
	if err != nil {
		return
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.Sendto(fd, text, 0, &unix.SockaddrUnix{Name: filepath.Join(stateDir, SocketName)})
}

// Listener receives hints.
type Listener struct {
	conn *net.UnixConn
	buf  []byte
}

// Listen makes birdd's socket in the state folder, in the place of the one that an earlier birdd left.
func Listen(stateDir string) (*Listener, error) {
	path := filepath.Join(stateDir, SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket for hints: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for hints: %w", err)
	}
	return &Listener{conn: conn, buf: make([]byte, 64<<10)}, nil
}

// Receive waits for the next hint. A datagram that is none is skipped. After [Listener.Close] the error
// matches [net.ErrClosed].
func (l *Listener) Receive() (Hint, error) {
	for {
		n, err := l.conn.Read(l.buf)
		if err != nil {
			return Hint{}, fmt.Errorf("receive a hint: %w", err)
		}
		var h Hint
		if json.Unmarshal(l.buf[:n], &h) == nil && h.Attachment.ContainerID != "" {
			return h, nil
		}
	}
}

// Close stops Receive. The socket stays, for the next birdd to replace.
func (l *Listener) Close() error { return l.conn.Close() }
