// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen makes the daemon's socket, which only its owner may connect to, in the place of the one that an earlier
// daemon left: at any moment there is one, and it refuses clients only between the two daemons. It makes the folder
// where that is missing. Closing the listener leaves the socket for the next daemon to replace.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	listener, err := makeSocket(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("listen for lookups: %w", err)
	}
	return listener, nil
}

func makeSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := (&net.ListenConfig{Control: ownerOnly}).Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Rename(fresh, path); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// ownerOnly gives the socket the mode with which it will appear in the file system.
func ownerOnly(_, _ string, conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) })
	return errors.Join(err, failed)
}

// Server answers what clients ask at a listener.
type Server struct {
	Handle Handler
	// Allocators answers questions of allocators, nil where there are none.
	Allocators Allocators
	// Limit is how many clients are served at once. More of them wait in the socket's queue, each no longer
	// than it wants to.
	Limit int
}

// Run serves until the context ends, and then hangs up on the clients that wait. It closes the listener.
func (s Server) Run(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	var clients sync.WaitGroup
	defer clients.Wait()
	room := make(chan struct{}, s.Limit)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept lookups at %s: %w", listener.Addr(), err)
		}
		clients.Go(func() {
			defer func() { <-room }()
			s.Serve(ctx, conn) // whose error is the client's
		})
	}
}
