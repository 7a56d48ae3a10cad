// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStable wants the same words for every connection that ends for the same reason.
func TestStable(t *testing.T) {
	server := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 6443}
	const want = "reach tcp 192.0.2.1:6443: connection reset by peer"
	for port, op := range []string{"dial", "read", "write"} {
		err := stable(&net.OpError{Op: op, Net: "tcp", Source: &net.TCPAddr{Port: port + 1}, Addr: server,
			Err: os.NewSyscallError("connect", unix.ECONNRESET)})
		if err.Error() != want || !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s: %v, want %s", op, err, want)
		}
	}
	err := stable(&net.OpError{Op: "read", Addr: server, Err: os.ErrDeadlineExceeded})
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout any more", err)
	}
	for _, other := range []error{nil, context.Canceled, errors.New("x509: unknown authority")} {
		if err := stable(other); err != other {
			t.Errorf("%v became %v", other, err)
		}
	}
}
