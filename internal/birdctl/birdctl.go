// SPDX-License-Identifier: Apache-2.0

// Package birdctl speaks to BIRD 2 over its control socket. What succeeded and what failed it tells by
// reply codes (BIRD's doc/reply_codes), never by BIRD's words.
package birdctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Conn is a connection to BIRD's control socket, for one command at a time. After an error other than
// an [*Error] it is of no more use.
type Conn struct {
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to the control socket and waits for BIRD's greeting.
func Dial(ctx context.Context, path string) (*Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to BIRD: %w", err)
	}
	c := &Conn{conn: conn, r: bufio.NewReader(conn)}
	defer c.until(ctx)()
	reply, err := readReply(c.r)
	if err == nil && reply.Code() != codeWelcome {
		err = reply.unexpected("greeting")
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to BIRD at %s: %w", path, because(ctx, err))
	}
	return c, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Do sends one command and returns the whole reply. A reply of an error code (8000 and up) is an
// [*Error].
func (c *Conn) Do(ctx context.Context, command string) (Reply, error) {
	if strings.ContainsFunc(command, func(r rune) bool { return r < ' ' }) {
		return Reply{}, fmt.Errorf("send BIRD the command %q: it holds a control character", command)
	}
	defer c.until(ctx)()
	if _, err := c.conn.Write([]byte(command + "\n")); err != nil {
		return Reply{}, fmt.Errorf("send BIRD the command %q: %w", command, because(ctx, err))
	}
	reply, err := readReply(c.r)
	if err != nil {
		return Reply{}, fmt.Errorf("read BIRD's reply to %q: %w", command, because(ctx, err))
	}
	if reply.Code() >= codeRuntimeError {
		return reply, &Error{Command: command, Code: reply.Code(), Text: reply.last().Text}
	}
	return reply, nil
}

// until makes the connection's reads and writes end with the context, and returns what undoes that.
func (c *Conn) until(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// because names the context's end where that is what interrupted the connection.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// Error is BIRD's refusal of a command.
type Error struct {
	Command string
	// Code is 8000 to 8999 for what went wrong at run time, 9000 and up for what BIRD cannot parse.
	Code int
	Text string
}

// Error returns the command with BIRD's words.
func (e *Error) Error() string {
	return fmt.Sprintf("BIRD refuses %q: %s (%04d)", e.Command, e.Text, e.Code)
}
