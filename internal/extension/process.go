// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is the one of an extension: a child, or one that an earlier supervisor left. It leads a group of its own.
type process struct {
	pid int
	// born is when it was started, in the kernel's ticks: with the pid it names one process of all since boot.
	born uint64
	// ended is closed when it has, and how says how.
	ended chan struct{}
	how   string

	mu     sync.Mutex
	lives  bool // the pid is its own
	doomed bool // it was killed before it lived
}

// killed is how a process ended that had to.
const killed = "signal: killed"

// kill ends the process and all of its group, unless it has ended. It does not wait.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
	if p.lives {
		unix.Kill(-p.pid, unix.SIGKILL)
	}
}

// live notes that the process is there.
func (p *process) live() {
	p.mu.Lock()
	p.lives = true
	doomed := p.doomed
	p.mu.Unlock()
	if doomed {
		p.kill()
	}
}

// die notes that the pid is free to be another's.
func (p *process) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lives = false
}

// end kills the process and waits until it has ended: 10 seconds at most, for a process may hang in the kernel.
func (p *process) end() {
	p.kill()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
	}
}

// child is a process that go-plugin has started by this package: its own way kills the program but not what that started,
// and waits for ever for a pipe that somebody else keeps open.
type child struct {
	process
	cmd    *exec.Cmd
	stdout *os.File
	pipes  []*os.File
	read   chan struct{} // closed when all that it wrote to its standard error has been read
}

// newChild prepares to run the program. What it writes to its standard error is given to says, or goes where the daemon's
// own goes if says is nil: the program outlives the daemon then, and a pipe would not.
func newChild(path string, says io.Writer) (*child, error) {
	c := &child{process: process{ended: make(chan struct{})}, cmd: exec.Command(path), read: make(chan struct{})}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdout, err := c.pipe(&c.cmd.Stdout)
	if err != nil {
		return nil, err
	}
	c.stdout = stdout
	if c.cmd.Stderr = os.Stderr; says == nil {
		close(c.read)
		return c, nil
	}
	c.cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	stderr, err := c.pipe(&c.cmd.Stderr)
	if err != nil {
		c.close()
		return nil, err
	}
	go func() { defer close(c.read); io.Copy(says, drained{stderr}) }()
	return c, nil
}

// pipe has the program write into a pipe, and returns the end to read from.
func (c *child) pipe(to *io.Writer) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	*to = w
	c.pipes = append(c.pipes, r, w)
	return r, nil
}

func (c *child) close() {
	for _, pipe := range c.pipes {
		pipe.Close()
	}
}

// Start starts the program, for go-plugin.
func (c *child) Start(context.Context) error {
	started := make(chan error)
	go c.run(started)
	return <-started
}

// run starts the program, waits for its end and reaps it, all on one thread: the kernel would kill the program at the end
// of the thread that started it, though the daemon lives.
func (c *child) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.cmd.Start(); err != nil {
		c.close()
		close(c.ended)
		started <- err
		return
	}
	c.pid = c.cmd.Process.Pid
	c.born, _ = born(c.pid) // it is there: nobody has reaped it
	for _, file := range []io.Writer{c.cmd.Stdout, c.cmd.Stderr} {
		if file != os.Stderr {
			file.(*os.File).Close()
		}
	}
	c.live()
	started <- nil
	c.wait()
}

// wait reaps the program after what it started in its group has been killed: until then the group's number is its own.
func (c *child) wait() {
	for {
		err := unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.kill()
	c.die()
	c.how = "exit status 0"
	if err := c.cmd.Wait(); err != nil {
		c.how = err.Error()
	}
	// Whoever left the group may have the pipes open for ever: what was written until now is read, no more.
	for _, pipe := range c.pipes {
		pipe.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	}
	<-c.read
	close(c.ended)
}

// drained is a pipe that is closed when there is nothing more to be read.
type drained struct{ *os.File }

func (d drained) Read(into []byte) (int, error) {
	n, err := d.File.Read(into)
	if err != nil {
		d.Close()
	}
	return n, err
}

// The rest is what go-plugin wants of a runner.

func (c *child) Wait(context.Context) error                                { <-c.ended; return nil }
func (c *child) Kill(context.Context) error                                { c.kill(); return nil }
func (c *child) Stdout() io.ReadCloser                                     { return drained{c.stdout} }
func (c *child) Stderr() io.ReadCloser                                     { return io.NopCloser(strings.NewReader("")) }
func (c *child) Name() string                                              { return c.cmd.Path }
func (c *child) ID() string                                                { return strconv.Itoa(c.pid) }
func (c *child) Diagnose(context.Context) string                           { return "" }
func (c *child) PluginToHost(network, addr string) (string, string, error) { return network, addr, nil }
func (c *child) HostToPlugin(network, addr string) (string, string, error) { return network, addr, nil }
