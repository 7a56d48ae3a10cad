// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// process is a program that ends with this process at the latest.
type process struct {
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts the program; what it prints is appended to its log in dir.
func start(dir, program string, args ...string) (*process, error) {
	log := filepath.Join(dir, filepath.Base(program)+".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	defer out.Close()
	p := &process{log: log, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// run holds the thread that started the program until that has ended: the kernel sends the parent's death signal
// when the thread ends.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.cmd.Wait()
		close(p.ended)
	}
}

// kill ends the program without giving it a chance to notice, and returns when it has ended. Killing one that has
// ended is not an error.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// running tells whether the program has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// lastWords returns the last lines that the program printed, less klog's information and warnings.
func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "I") || strings.HasPrefix(line, "W")
	})
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// folder makes a folder, in memory where the machine has one there, that is removed when the returned file is
// closed or this process ends, however it ends.
func folder() (dir string, hold *os.File, err error) {
	parent := "/dev/shm"
	if !exists(parent) {
		parent = os.TempDir()
	}
	if dir, err = os.MkdirTemp(parent, "flt-apiserver-"); err != nil {
		return "", nil, fmt.Errorf("make the API server's folder: %w", err)
	}
	read, hold, err := os.Pipe()
	if err != nil {
		return "", nil, fmt.Errorf("make the API server's folder: %w", err)
	}
	defer read.Close()
	// The programs may still write while they are killed, so that the first rm finds more than it listed.
	sweeper := exec.Command("/bin/sh", "-c", `read -r _; for n in 1 2 3 4 5; do rm -rf "$0" 2>/dev/null && break; sleep 1; done`, dir)
	sweeper.Stdin = read
	sweeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := sweeper.Start(); err != nil {
		return "", nil, fmt.Errorf("make the API server's folder: %w", err)
	}
	go sweeper.Wait()
	return dir, hold, nil
}
