// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSupervisor(t *testing.T) {
	r := prepare(t, "good", nil).run()
	if got := r.say("hello"); got != "heard hello" {
		t.Errorf("it says %q", got)
	}
	state := r.State()
	if !state.Up || state.Version != 1 || state.PID == 0 || state.Restarts != 0 || state.LastError != "" || state.Since.IsZero() {
		t.Errorf("State() = %+v", state)
	}
	if info, err := os.Stat(r.folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the socket: %v, %v", info, err)
	}
	if took := r.finish(); took > 800*time.Millisecond {
		t.Errorf("it ended after %s: gracefully is sooner", took)
	}
}

func TestNewestVersionOfBothIsSpoken(t *testing.T) {
	r := prepare(t, "newer", nil).run()
	r.echo()
	if v := r.State().Version; v != 2 {
		t.Errorf("they speak version %d", v)
	}
}

// TestCannotStart has extensions that never come up, and what is said of them.
func TestCannotStart(t *testing.T) {
	for _, test := range []struct{ name, why string }{
		{"alien", "incompatible API version with plugin. Plugin version: 9, Client versions: "},
		{"cookie", "it ended before it answered: exit status 1; it said: "},
		{"netrpc", `unsupported plugin protocol "netrpc". Supported: [grpc]`},
		{"mute", "timeout while waiting for plugin to start"},
		{"crash", "it ended before it answered: exit status 3; it said: open /etc/licence: no such file"},
		{"verbose", "it ended before it answered: exit status 3; it said: that is all"},
		{"panic", "it ended before it answered: exit status 2; it said: panic: out of luck"},
		{"chatter", "Unrecognized remote plugin message: Hello, world!"},
		{"tcp", "it has to at a unix socket in the folder that PLUGIN_UNIX_SOCKET_DIR names"},
		{"elsewhere", "it has to at a unix socket in the folder that PLUGIN_UNIX_SOCKET_DIR names"},
		{"plain", "it has no certificate"},
		{"deaf", "it does not answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := prepare(t, test.name, nil)
			if r.start = time.Second; test.name != "mute" && test.name != "deaf" {
				r.start = 10 * time.Second
			}
			r.run()
			r.down("start " + r.o.Dir.Path + "/echo-" + test.name + ": ")
			r.down(test.why)
			client, err := r.Client()
			if client != nil || !errors.Is(err, ErrDown) || !strings.Contains(err.Error(), "it is not up: start /") {
				t.Errorf("Client() = %v, %v", client, err)
			}
			within(t, "it is tried again", func() error {
				if r.State().Restarts < 1 {
					return errors.New("it is not")
				}
				return nil
			})
		})
	}
}

func TestMissingThenInstalled(t *testing.T) {
	r := prepare(t, "good", func(o *Options) { o.Dir.Path += "/later" }).run()
	r.down("no such file or directory: install it, or correct the name")
	if err := os.Mkdir(r.o.Dir.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.o.Dir.Path+"/../echo-good", r.o.Dir.Path+"/echo-good"); err != nil {
		t.Fatal(err)
	}
	r.echo()
}

// TestNoProgram has a file that the kernel does not run.
func TestNoProgram(t *testing.T) {
	r := prepare(t, "good", nil)
	path := r.o.Dir.Path + "/echo-good"
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("hello\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.down("exec format error")
}

// TestComesBack ends a living extension in several ways; another takes its place.
func TestComesBack(t *testing.T) {
	for _, test := range []struct{ say, why string }{
		{"panic", "it ended: exit status 2; it said: panic: out of luck"},
		{"leave", "it ended: exit status 0"},
		{"hang", "it does not answer: rpc error: code = DeadlineExceeded"},
	} {
		t.Run(test.say, func(t *testing.T) {
			r := prepare(t, "good", nil).run()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			before := r.echo()
			pid := r.State().PID
			if answer, err := before.say(ctx, test.say); err == nil {
				t.Errorf("it said %q", answer)
			}
			r.down(test.why)
			if got := r.say("again"); got != "heard again" {
				t.Errorf("it says %q", got)
			}
			if state := r.State(); state.PID == pid || state.Restarts != 1 || !state.Up {
				t.Errorf("State() = %+v after process %d", state, pid)
			}
		})
	}
}

// alive tells whether there is a process that has not ended.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestOffspringEnds has processes that an extension started, in its group or out of it, and that hold its pipes.
func TestOffspringEnds(t *testing.T) {
	for _, kind := range []string{"offspring", "runaway"} {
		for _, end := range []string{"with the supervisor", "with a crash"} {
			t.Run(kind+" "+end, func(t *testing.T) {
				r := prepare(t, "good", nil).run()
				pid, _ := strconv.Atoi(r.say(kind))
				if !alive(pid) {
					t.Fatalf("there is no process %d", pid)
				}
				if end == "with a crash" {
					r.echo().say(t.Context(), "leave")
					r.down("exit status 0")
					r.echo()
				} else {
					r.finish()
				}
				within(t, "what it started has ended", func() error {
					if alive(pid) {
						return fmt.Errorf("process %d lives", pid)
					}
					return nil
				})
			})
		}
	}
}

// TestNothingWaitsForTheNextStart ends an extension that is not started again soon: it, and what it started, end at once.
func TestNothingWaitsForTheNextStart(t *testing.T) {
	for _, last := range []string{"leave", "hang"} {
		t.Run(last, func(t *testing.T) {
			r := prepare(t, "good", nil)
			r.shortest, r.longest = time.Hour, time.Hour
			r.run()
			offspring, _ := strconv.Atoi(r.say("offspring"))
			pid := r.State().PID
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r.echo().say(ctx, last)
			within(t, "both have ended", func() error {
				if alive(offspring) || alive(pid) {
					return errors.New("they live")
				}
				return nil
			})
		})
	}
}

// TestKilledBeforeItStarts has a child that is not wanted any more when it is started.
func TestKilledBeforeItStarts(t *testing.T) {
	c, err := newChild(install(t, "echo-mute"), newSays(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	c.kill()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		c.kill()
		t.Error("it lives")
	}
	c.close()
}

func TestStubbornIsKilled(t *testing.T) {
	r := prepare(t, "stubborn", func(o *Options) { o.Grace = 200 * time.Millisecond }).run()
	r.echo()
	if took := r.finish(); took < 200*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("it ended after %s", took)
	}
	if !strings.Contains(r.log.String(), "extension is killed") {
		t.Error("the log does not say so")
	}
}

// TestEndsByItself has an extension do what it does after Serve.
func TestEndsByItself(t *testing.T) {
	r := prepare(t, "tidy", nil).run()
	r.echo()
	r.finish()
	if !strings.Contains(r.log.String(), `line="tidied up"`) {
		t.Error("it did not end by itself")
	}
}

func TestStopIsCalledFirst(t *testing.T) {
	var heard string
	r := prepare(t, "good", func(o *Options) {
		o.Stop = func(ctx context.Context, client any) (err error) {
			heard, err = client.(echo).say(ctx, "goodbye")
			return err
		}
	}).run()
	r.echo()
	if r.finish(); heard != "heard goodbye" {
		t.Errorf("Stop heard %q", heard)
	}
}

// TestFlood has an extension that writes 20 MB to its standard error before and after its handshake: it is read, and
// little of it is logged.
func TestFlood(t *testing.T) {
	r := prepare(t, "flood", func(o *Options) { o.Metrics = NewMetrics("birdd") })
	r.start = 20 * time.Second
	r.run()
	if got := r.say("flood"); got != "heard flood" {
		t.Errorf("it says %q", got)
	}
	if lines := strings.Count(r.log.String(), "\n"); lines < burst || lines > 3*burst {
		t.Errorf("%d lines were logged", lines)
	}
}

func TestWhatItSaysIsLogged(t *testing.T) {
	r := prepare(t, "good", nil).run()
	r.say("print")
	within(t, "it is logged", func() error {
		if want := `msg="extension says" extension=echo-good line=printed`; !strings.Contains(r.log.String(), want) {
			return errors.New("it is not")
		}
		return nil
	})
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DAEMON", "swordfish")
	t.Setenv("TZ", "Europe/Berlin")
	r := prepare(t, "good", func(o *Options) { o.Env = []string{"NODE=n1"} }).run()
	env := "\n" + r.say("env") + "\n"
	for _, want := range []string{"\nNODE=n1\n", "\nTZ=Europe/Berlin\n", "\nPATH=", "\nTMPDIR=" + r.folder} {
		if !strings.Contains(env, want) {
			t.Errorf("the environment has no %q:%s", want, env)
		}
	}
	if strings.Contains(env, "swordfish") {
		t.Error("the environment has the daemon's secret")
	}
}

// TestEndsWhileItStarts ends the supervisor while its extension says nothing.
func TestEndsWhileItStarts(t *testing.T) {
	r := prepare(t, "mute", nil)
	r.start = time.Minute
	r.run()
	within(t, "it is started", func() error {
		if len(started(t, r.folder)) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	if took := r.finish(); took > time.Second {
		t.Errorf("it ended after %s", took)
	}
}

func TestOneSupervisorAtATime(t *testing.T) {
	folder := shortDir(t)
	change := func(o *Options) { o.Folder, o.Outlive = folder, true }
	first := prepare(t, "good", change).run()
	first.echo()
	second := prepare(t, "good", change).run()
	second.down("another process runs the extension: end that one")
	if got := first.say("hello"); got != "heard hello" {
		t.Errorf("it says %q", got)
	}
	first.finish()
	second.echo()
	second.finish()
}

func TestLongFolder(t *testing.T) {
	r := prepare(t, "good", func(o *Options) { o.Folder += "/" + strings.Repeat("x", 80) }).run()
	r.down("use a shorter state folder")
	if err := os.MkdirAll(r.o.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
}
