// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// adopt returns the process of the pid, if it still is the one that was born then.
func adopt(pid int, when uint64) (*process, error) {
	if pid <= 1 {
		return nil, fmt.Errorf("find process %d: it is no extension's", pid)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	if is, err := born(pid); err != nil || is != when {
		unix.Close(fd)
		return nil, fmt.Errorf("find process %d: it is another now", pid)
	}
	p := &process{pid: pid, born: when, ended: make(chan struct{}), how: "nobody knows why"}
	p.live()
	go p.await(fd)
	return p, nil
}

// await waits until the process of the pidfd has ended.
func (p *process) await(fd int) {
	defer unix.Close(fd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.die()
	close(p.ended)
}

// born returns when a process was started (proc_pid_stat(5), field 22).
func born(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is in parentheses, and may have any character in it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("read /proc/%d/stat: too short", pid)
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}
