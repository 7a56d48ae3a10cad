// SPDX-License-Identifier: Apache-2.0

package birdproc

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLeaveEnds: a BIRD that closes its socket and does not end is killed.
func TestLeaveEnds(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bird.ctl")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintln(conn, "0001 BIRD 2.0.12 ready.")
		bufio.NewReader(conn).ReadString('\n')
		fmt.Fprintln(conn, "0025 Graceful restart")
	}()
	cmd := exec.Command("sleep", "30")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	start := time.Now()
	err = leave(socket, cmd.Process, ended)
	if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "end BIRD for a graceful restart: ") || took > 3*restartPatience {
		t.Errorf("leave() = %v after %s", err, took)
	}
}
