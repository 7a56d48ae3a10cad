// SPDX-License-Identifier: Apache-2.0

package birdctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Status is what BIRD says of itself.
type Status struct {
	// Version is "BIRD 2.0.12", say.
	Version  string
	RouterID string
	// Message is BIRD's own last line, "Daemon is up and running".
	Message string
	// Reconfiguring tells that protocols still run as an earlier configuration said.
	Reconfiguring bool
}

// Status asks BIRD for its state.
func (c *Conn) Status(ctx context.Context) (Status, error) {
	reply, err := c.Do(ctx, "show status")
	if err != nil {
		return Status{}, err
	}
	status := Status{Message: reply.last().Text}
	// The one state that has no code of its own.
	status.Reconfiguring = strings.HasPrefix(status.Message, "Reconfiguration")
	for _, line := range reply.Lines {
		switch id, isID := strings.CutPrefix(line.Text, "Router ID is "); {
		case line.Code == codeVersion:
			status.Version = line.Text
		case line.Code == codeStatus && isID:
			status.RouterID = id
		}
	}
	return status, nil
}

// Check lets BIRD parse a configuration file; what BIRD finds wrong with it is an [*Error].
func (c *Conn) Check(ctx context.Context, file string) error {
	return c.configure(ctx, "check", file, "")
}

// Configure makes BIRD load a configuration file. With a timeout, in whole seconds, BIRD returns to
// the configuration before it unless [Conn.Confirm] comes first; 0 is no timeout. Protocols may still
// be restarting when it returns.
func (c *Conn) Configure(ctx context.Context, file string, timeout time.Duration) error {
	if timeout == 0 {
		return c.configure(ctx, "", file, "")
	}
	return c.configure(ctx, "", file, fmt.Sprintf("timeout %d", int(timeout.Seconds())))
}

// Confirm keeps the configuration that was loaded with a timeout. Nothing waiting to be confirmed is
// not an error.
func (c *Conn) Confirm(ctx context.Context) error { return c.configure(ctx, "confirm", "", "") }

// errShuttingDown is why BIRD ignores a configuration.
var errShuttingDown = errors.New("BIRD is shutting down")

func (c *Conn) configure(ctx context.Context, verb, file, timeout string) error {
	command := "configure"
	if verb != "" {
		command += " " + verb
	}
	if file != "" {
		if strings.ContainsFunc(file, func(r rune) bool { return r < ' ' || r == '"' }) {
			return fmt.Errorf("name BIRD the file %q: its name holds a quote or a control character", file)
		}
		command += ` "` + file + `"`
	}
	if timeout != "" {
		command += " " + timeout
	}
	reply, err := c.Do(ctx, command)
	if err == nil && reply.Code() == codeShutdown {
		err = fmt.Errorf("send BIRD the command %q: %w", command, errShuttingDown)
	}
	return err
}

// Exported tells whether BIRD has sent the prefix to the protocol's peer. A protocol that is down, or
// that does not carry the prefix's family, is an [*Error].
func (c *Conn) Exported(ctx context.Context, prefix netip.Prefix, protocol string) (bool, error) {
	reply, err := c.Do(ctx, "show route "+prefix.String()+" exported "+protocol)
	if refused := (*Error)(nil); errors.As(err, &refused) && refused.Code == codeNoRoute {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(reply.Lines, func(l Line) bool { return l.Code == codeRoute }), nil
}

// ReloadIn has the protocol bring its routes again; a kernel protocol that learns reads the kernel's table
// for it, within a moment. A protocol that does not exist is an [*Error].
func (c *Conn) ReloadIn(ctx context.Context, protocol string) error {
	reply, err := c.Do(ctx, "reload in "+protocol)
	if err == nil && !slices.ContainsFunc(reply.Lines, func(l Line) bool { return l.Code == codeReloading }) {
		err = fmt.Errorf("reload protocol %s: %w", protocol, reply.unexpected("reply"))
	}
	return err
}

// GracefulRestart ends BIRD as if it were to start again: it sends no withdrawal, and leaves the kernel's routes.
// BIRD may still run when it returns.
func (c *Conn) GracefulRestart(ctx context.Context) error {
	_, err := c.Do(ctx, "graceful restart")
	return err
}

// Down ends BIRD: it withdraws what it announced and takes its routes out of the kernel, which goes on when Down returns.
func (c *Conn) Down(ctx context.Context) error {
	_, err := c.Do(ctx, "down")
	return err
}

// AwaitEnd waits until BIRD has ended, after a command that ends it.
func (c *Conn) AwaitEnd(ctx context.Context) error {
	defer c.until(ctx)()
	if _, err := io.Copy(io.Discard, c.r); err != nil && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("wait for BIRD's end: %w", because(ctx, err))
	}
	return nil
}
