// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
)

// sweep kills every process that has the folder as its extension's, and returns when they have ended: those that an
// extension started and that left its group, and all of them where a supervisor was killed before it had kept a record.
func sweep(folder string) error {
	mark := []byte(plugin.EnvUnixSocketDir + "=" + folder + "\x00")
	for deadline := time.Now().Add(2 * time.Second); ; {
		pids, err := marked(mark)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("end processes %d, that are left of it: they do not end", pids)
		}
		for _, pid := range pids {
			killMarked(pid, mark)
		}
	}
}

// marked returns the processes that were started with the mark in their environment.
func marked(mark []byte) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for processes that are left: %w", err)
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && pid != os.Getpid() && hasMark(pid, mark) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// hasMark is false for a process that has ended, reaped or not.
func hasMark(pid int, mark []byte) bool {
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	return err == nil && bytes.Contains(append([]byte{0}, env...), append([]byte{0}, mark...))
}

// killMarked kills the process if it still has the mark, and waits a little for its end.
func killMarked(pid int, mark []byte) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if hasMark(pid, mark) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
	}
}
