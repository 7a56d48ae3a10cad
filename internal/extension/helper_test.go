// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// impatient is for tests: what takes a minute takes a second. An extension has as long to start as ever, for others use
// the machine too.
var impatient = timing{start: usual.start, answer: 3 * time.Second, every: 50 * time.Millisecond,
	shortest: 20 * time.Millisecond, longest: 100 * time.Millisecond, well: time.Hour}

// install puts this test's binary into a new folder, under the name, and returns its path.
func install(tb testing.TB, name string) string {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), name)
	if os.Link(self, path) == nil {
		return path
	}
	content, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(path, content, 0o755)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a supervisor at work.
type running struct {
	*Supervisor
	log  *logged
	tb   testing.TB
	end  context.CancelFunc
	done chan error
}

// prepare returns a supervisor of the echo of the name, which is installed.
func prepare(tb testing.TB, name string, change func(*Options)) *running {
	tb.Helper()
	r := &running{log: &logged{}, tb: tb, done: make(chan error, 1)}
	o := Options{Kind: echoKind, Name: name, Dir: Dir{filepath.Dir(install(tb, "echo-"+name))}, Folder: shortDir(tb),
		Log: slog.New(slog.NewTextHandler(r.log, nil))}
	if change != nil {
		change(&o)
	}
	r.Supervisor = NewSupervisor(o)
	r.timing = impatient
	return r
}

// run runs it until the test ends, and then wants nothing of it left.
func (r *running) run() *running {
	r.tb.Helper()
	before := census()
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	go func() { r.done <- r.Run(ctx) }()
	r.tb.Cleanup(func() {
		r.finish()
		if r.tb.Failed() {
			r.tb.Log(r.log)
		}
		clean(r.tb, r.Supervisor)
		within(r.tb, "no goroutine, thread's file or pipe is left", func() error { return before.grown() })
	})
	return r
}

// finish ends the supervisor, and returns how long that took.
func (r *running) finish() time.Duration {
	r.tb.Helper()
	began := time.Now()
	r.end()
	select {
	case err := <-r.done:
		r.done <- err
		if err != nil {
			r.tb.Error(err)
		}
	case <-time.After(10 * time.Second):
		r.tb.Fatal("Run does not return")
	}
	return time.Since(began)
}

// started returns the processes of the extension of the folder.
func started(tb testing.TB, folder string) []int {
	tb.Helper()
	pids, err := marked([]byte("PLUGIN_UNIX_SOCKET_DIR=" + folder + "\x00"))
	if err != nil {
		tb.Fatal(err)
	}
	return pids
}

// shortDir is TempDir with a path that a socket may have.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "fx")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// clean wants nothing of the extension to be left.
func clean(tb testing.TB, s *Supervisor) {
	tb.Helper()
	if pids := started(tb, s.folder); len(pids) > 0 {
		tb.Errorf("processes %v are left", pids)
	}
	if entries, err := os.ReadDir(s.o.Folder); err != nil || len(entries) > 0 {
		tb.Errorf("%v are left in the state folder (%v)", entries, err)
	}
}

// numbers are those of this process's goroutines and open files.
type numbers struct{ goroutines, files int }

func census() numbers {
	files, _ := os.ReadDir("/proc/self/fd")
	return numbers{runtime.NumGoroutine(), len(files)}
}

func (n numbers) grown() error {
	if now := census(); now.goroutines > n.goroutines || now.files > n.files {
		stacks := make([]byte, 1<<20)
		return fmt.Errorf("%+v at first, %+v now:\n%s", n, now, stacks[:runtime.Stack(stacks, true)])
	}
	return nil
}

func within(tb testing.TB, what string, check func() error) {
	tb.Helper()
	if err := lab.Within(context.Background(), 30*time.Second, what, check); err != nil {
		tb.Fatal(err)
	}
}

// echo waits for the extension and returns its client.
func (r *running) echo() echo {
	r.tb.Helper()
	var client any
	within(r.tb, "the extension is up", func() (err error) { client, err = r.Client(); return err })
	return client.(echo)
}

// say says it to the extension and wants it heard.
func (r *running) say(text string) string {
	r.tb.Helper()
	answer, err := r.echo().say(r.tb.Context(), text)
	if err != nil {
		r.tb.Fatal(err)
	}
	return answer
}

// down waits until the extension was down for a reason that has the text in it.
func (r *running) down(text string) {
	r.tb.Helper()
	within(r.tb, "the extension is down: "+text, func() error {
		if state := r.State(); !strings.Contains(state.LastError, text) {
			return fmt.Errorf("it is %+v", state)
		}
		return nil
	})
}

// supervise is the program of a supervisor of its own: it runs the extension until it gets SIGTERM.
func supervise(dir, name, folder string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := NewSupervisor(Options{Kind: echoKind, Name: name, Dir: Dir{dir}, Folder: folder, Outlive: name != "bound",
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	s.timing = impatient
	if err := s.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// program starts such a supervisor, whose output goes to a file.
func program(tb testing.TB, dir, name, folder string) *exec.Cmd {
	tb.Helper()
	log, err := os.Create(filepath.Join(tb.TempDir(), "log"))
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(install(tb, "supervise-"+name), dir, name, folder)
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); tb.Failed() {
			io.Copy(os.Stderr, bytes.NewReader(text))
		}
	})
	return cmd
}
