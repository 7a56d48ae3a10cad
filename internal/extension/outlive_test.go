// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// site is a state folder whose extension is supervised by another process.
type site struct {
	t           *testing.T
	name        string
	dir, folder string
	remote      *Remote
	supervisor  *exec.Cmd
}

func newSite(t *testing.T, name string) *site {
	t.Helper()
	s := &site{t: t, name: name, dir: filepath.Dir(install(t, "echo-"+name)), folder: shortDir(t)}
	before := census()
	s.remote = NewRemote(echoKind, name, s.folder, nil)
	t.Cleanup(func() {
		if err := s.remote.Close(); err != nil {
			t.Error(err)
		}
		within(t, "nothing is left of the connections", before.grown)
		if s.supervisor != nil {
			s.crash()
		}
		if err := sweep(s.sockets()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// sockets is the folder that the extension has.
func (s *site) sockets() string { return filepath.Join(s.folder, "echo-"+s.name+".d") }

func (s *site) record() string { return RecordPath(s.folder, "echo", s.name) }

func (s *site) supervise() { s.supervisor = program(s.t, s.dir, s.name, s.folder) }

// crash kills the supervisor, which can do nothing about it.
func (s *site) crash() {
	s.supervisor.Process.Kill()
	s.supervisor.Wait()
	s.supervisor = nil
}

// leave ends the supervisor and wants nothing left.
func (s *site) leave() {
	s.t.Helper()
	if err := errors.Join(s.supervisor.Process.Signal(syscall.SIGTERM), s.supervisor.Wait()); err != nil {
		s.t.Error(err)
	}
	s.supervisor = nil
	clean(s.t, &Supervisor{folder: s.sockets(), o: Options{Folder: s.folder}})
}

// say says it to the extension that the record names, and returns its process.
func (s *site) say(text string) int {
	s.t.Helper()
	within(s.t, "the extension hears "+text, func() error {
		client, err := s.remote.Client()
		if err != nil {
			return err
		}
		answer, err := client.(echo).say(s.t.Context(), text)
		if err == nil && answer != "heard "+text {
			err = fmt.Errorf("it says %q", answer)
		}
		return err
	})
	return s.remote.State().PID
}

// supervised waits until the extension is up, as the supervisor says.
func (s *site) supervised() {
	s.t.Helper()
	within(s.t, "the supervisor is at work", func() error {
		log, err := os.ReadFile(s.supervisor.Stdout.(*os.File).Name())
		if err == nil && !strings.Contains(string(log), "extension is up") {
			err = errors.New("it is not")
		}
		return err
	})
}

func TestRemote(t *testing.T) {
	s := newSite(t, "good")
	client, err := s.remote.Client()
	if want := "it is not up: nothing runs it: open " + s.record(); client != nil || !errors.Is(err, ErrDown) ||
		!errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Client() = %v, %v", client, err)
	}
	if state := s.remote.State(); state.Up || state.LastError != err.Error() {
		t.Errorf("State() = %+v", state)
	}
	s.supervise()
	pid := s.say("hello")
	if state := s.remote.State(); !state.Up || state.Version != 1 || state.PID == 0 || state.LastError != "" {
		t.Errorf("State() = %+v", state)
	}
	if info, err := os.Stat(s.record()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the record: %v, %v", info, err)
	}
	if err := s.remote.Close(); err != nil {
		t.Error(err)
	}
	if again := s.say("hello"); again != pid {
		t.Errorf("process %d became %d when a Remote was closed", pid, again)
	}
	s.leave()
}

// TestRemoteFollows has the extension crash: the Remote has the next one, and knows in between.
func TestRemoteFollows(t *testing.T) {
	s := newSite(t, "good")
	s.supervise()
	pid := s.say("hello")
	client, _ := s.remote.Client()
	if _, err := client.(echo).say(t.Context(), "leave"); err == nil {
		t.Error("it answered")
	}
	if again := s.say("hello"); again == pid {
		t.Errorf("process %d is there again", pid)
	}
	if state := s.remote.State(); state.Restarts != 1 || !strings.Contains(state.LastError, "it ended: exit status 0") {
		t.Errorf("State() = %+v", state)
	}
	s.leave()
}

// TestTakeOver kills the supervisor: the extension goes on, is reached as before, and the next supervisor has it.
func TestTakeOver(t *testing.T) {
	s := newSite(t, "good")
	s.supervise()
	s.say("hello")
	client, _ := s.remote.Client()
	client.(echo).say(t.Context(), "leave")
	pid := s.say("hello")
	s.crash()
	if again := s.say("shout"); again != pid {
		t.Errorf("process %d became %d when its supervisor was killed", pid, again)
	}
	s.supervise()
	within(t, "the extension is taken over", func() error {
		log, err := os.ReadFile(s.supervisor.Stdout.(*os.File).Name())
		if want := fmt.Sprintf(`"extension is up" extension=echo-good pid=%d version=1`, pid); err == nil && !strings.Contains(string(log), want) {
			err = errors.New("it is not")
		}
		return err
	})
	if again := s.say("flood"); again != pid {
		t.Errorf("process %d became %d when it was taken over", pid, again)
	}
	if state := s.remote.State(); state.Restarts != 1 || !strings.Contains(state.LastError, "it ended: exit status 0") {
		t.Errorf("State() = %+v", state)
	}
	client, _ = s.remote.Client()
	client.(echo).say(t.Context(), "leave")
	if again := s.say("hello"); again == pid || s.remote.State().Restarts != 2 {
		t.Errorf("process %d became %d when it ended; State() = %+v", pid, again, s.remote.State())
	}
	s.leave()
}

// TestNotTakenOver has something else come of the extension while it had no supervisor.
func TestNotTakenOver(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(s *site, pid int) error
	}{
		{"ended", func(_ *site, pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }},
		{"hangs", func(_ *site, pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }},
		{"without a record", func(s *site, _ int) error { return os.Remove(s.record()) }},
		{"damaged record", func(s *site, _ int) error { return os.WriteFile(s.record(), []byte("{"), 0o600) }},
		{"another's pid", func(s *site, _ int) error {
			rec, err := readRecord(s.record())
			rec.State.PID = os.Getpid()
			return errors.Join(err, rec.write(s.record(), s.sockets()))
		}},
		{"init's pid", func(s *site, _ int) error {
			rec, err := readRecord(s.record())
			rec.State.PID = 1
			return errors.Join(err, rec.write(s.record(), s.sockets()))
		}},
		{"another version", func(s *site, _ int) error {
			rec, err := readRecord(s.record())
			rec.State.Version = 7
			return errors.Join(err, rec.write(s.record(), s.sockets()))
		}},
		{"without a socket", func(s *site, _ int) error { return os.RemoveAll(s.sockets()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, "good")
			s.supervise()
			pid := s.say("hello")
			s.crash()
			if err := test.do(s, pid); err != nil {
				t.Fatal(err)
			}
			s.supervise()
			s.supervised()
			if again := s.say("hello"); again == pid {
				t.Errorf("process %d was taken over", pid)
			}
			if alive(pid) {
				t.Errorf("process %d lives", pid)
			}
			s.leave()
		})
	}
}

// TestKilledWhileItStarts kills a supervisor before there is a record of what it started.
func TestKilledWhileItStarts(t *testing.T) {
	s := newSite(t, "mute")
	s.supervise()
	var pids []int
	within(t, "the extension is started", func() error {
		if pids = started(t, s.sockets()); len(pids) != 1 {
			return fmt.Errorf("%d are", len(pids))
		}
		return nil
	})
	s.crash()
	if !alive(pids[0]) {
		t.Error("the extension ended with its supervisor")
	}
	s.supervise()
	within(t, "the first extension has ended", func() error {
		if alive(pids[0]) {
			return errors.New("it lives")
		}
		return nil
	})
	s.leave()
}

// TestEndsWithItsSupervisor kills the supervisor of an extension that is not to outlive it.
func TestEndsWithItsSupervisor(t *testing.T) {
	s := newSite(t, "bound")
	s.supervise()
	s.supervised()
	pids := started(t, s.sockets())
	if len(pids) != 1 || !alive(pids[0]) {
		t.Fatalf("processes %v were started", pids)
	}
	s.crash()
	within(t, "the extension has ended", func() error {
		if alive(pids[0]) {
			return errors.New("it lives")
		}
		return nil
	})
}

// TestRemoteAfterAll has both the supervisor and the extension killed: the record says up, and nobody is there.
func TestRemoteAfterAll(t *testing.T) {
	s := newSite(t, "good")
	s.supervise()
	pid := s.say("hello")
	s.crash()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, "its socket is nobody's", func() error {
		if state := s.remote.State(); state.Up || state.LastError == "" {
			return fmt.Errorf("the state is %+v", state)
		}
		return nil
	})
	client, err := s.remote.Client()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := client.(echo).say(t.Context(), "hello"); err == nil || time.Since(began) > time.Second {
		t.Errorf("say() = %v after %s", err, time.Since(began))
	}
}

func TestRecordOfAnotherVersion(t *testing.T) {
	s := newSite(t, "good")
	s.supervise()
	s.say("hello")
	rec, err := readRecord(s.record())
	rec.State.Version, rec.Born = 7, rec.Born+1
	if err := errors.Join(err, rec.write(s.record(), s.sockets())); err != nil {
		t.Fatal(err)
	}
	client, err := s.remote.Client()
	if want := "it speaks version 7 of the echo contract, which is not known here"; client != nil || !errors.Is(err, ErrDown) || !strings.Contains(err.Error(), want) {
		t.Errorf("Client() = %v, %v", client, err)
	}
	s.leave()
}

// TestStrangerIsRefused calls the extension's socket without the record's key.
func TestStrangerIsRefused(t *testing.T) {
	s := newSite(t, "good")
	s.supervise()
	s.say("hello")
	rec, err := readRecord(s.record())
	if err != nil {
		t.Fatal(err)
	}
	config, err := rec.config()
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = nil
	conn, err := dial(filepath.Join(s.folder, rec.Socket), config, (*Metrics)(nil).observe("stranger"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if answer, err := (echo{conn}).say(t.Context(), "hello"); err == nil {
		t.Errorf("it says %q", answer)
	}
	s.leave()
}
