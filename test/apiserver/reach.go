// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"flock.fritzlab.net/flock/test/lab"
)

// Reach makes the server reachable inside the namespace, at the same address and port of 127.0.0.1 as outside, until
// the test ends. While the server is stopped connections are accepted and reset.
func (s *Server) Reach(t testing.TB, host *lab.Netns) {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", s.port)
	var listener net.Listener
	check(t, host.Do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}))
	r := &relay{to: address, listener: listener, open: map[net.Conn]bool{}}
	go r.run()
	// Open sockets would keep the namespace alive.
	t.Cleanup(r.close)
}

// relay passes connections on.
type relay struct {
	to       string
	listener net.Listener

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
}

func (r *relay) run() {
	for {
		from, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go r.pass(from)
		}
	}
}

// pass copies both ways until one side ends.
func (r *relay) pass(from net.Conn) {
	if !r.hold(from) {
		return
	}
	defer r.drop(from)
	to, err := net.Dial("tcp", r.to)
	if err != nil {
		from.(*net.TCPConn).SetLinger(0) // the reset that the caller would have got without a relay
		return
	}
	if !r.hold(to) {
		return
	}
	defer r.drop(to)
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			io.Copy(way[0], way[1])
			ended <- struct{}{}
		}()
	}
	<-ended
}

// hold remembers the connection; a closed relay closes it instead and returns false.
func (r *relay) hold(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		c.Close()
		return false
	}
	r.open[c] = true
	return true
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
	c.Close()
}

func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.listener.Close()
	for c := range r.open {
		c.Close()
	}
}
