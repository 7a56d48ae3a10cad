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

// Link is a way from a namespace to the server.
type Link struct {
	to       string
	listener net.Listener

	mu   sync.Mutex
	cut  bool
	open map[net.Conn]bool
}

// Reach makes the server reachable inside the namespace, at the same address and port of 127.0.0.1 as outside, until
// the test ends. While the server is stopped connections are accepted and reset.
func (s *Server) Reach(t testing.TB, host *lab.Netns) *Link {
	t.Helper()
	l := &Link{to: fmt.Sprintf("127.0.0.1:%d", s.port), open: map[net.Conn]bool{}}
	check(t, host.Do(func() (err error) {
		l.listener, err = net.Listen("tcp", l.to)
		return err
	}))
	go l.run()
	// Open sockets would keep the namespace alive.
	t.Cleanup(func() {
		l.listener.Close()
		l.Cut()
	})
	return l
}

// Cut resets the connections of the link and every new one, until [Link.Mend]: the namespace has lost the server,
// which others still reach.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.open {
		reset(c)
	}
}

// Mend undoes [Link.Cut].
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

func (l *Link) run() {
	for {
		from, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go l.pass(from)
		}
	}
}

// pass copies both ways until one side ends.
func (l *Link) pass(from net.Conn) {
	if !l.hold(from) {
		return
	}
	defer l.drop(from)
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		reset(from)
		return
	}
	if !l.hold(to) {
		return
	}
	defer l.drop(to)
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			io.Copy(way[0], way[1])
			ended <- struct{}{}
		}()
	}
	<-ended
}

// hold remembers the connection. A link that is cut resets it instead, and hold returns false.
func (l *Link) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		reset(c)
		return false
	}
	l.open[c] = true
	return true
}

func (l *Link) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	c.Close()
}

// reset closes the connection as a server does that is not there.
func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}
