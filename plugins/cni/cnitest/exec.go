// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

// reply is what one run of the plugin left.
type reply struct {
	command string
	stdout  []byte
	stderr  []byte
	// exit is the exit status, -1 after a signal.
	exit int
	// hung tells that the plugin was killed because it did not end in time.
	hung bool
}

// start is one run of the executable.
type start struct {
	binary  string
	env     []string
	stdin   []byte
	timeout time.Duration
	// killAfter ends the run early, with SIGKILL; 0 lets it live.
	killAfter time.Duration
}

// run starts the executable in the calling thread's network namespace and waits for its end. The error
// is one of starting it; all else is in the reply.
func (s start) run(launch func(func() error) error) (reply, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(s.binary)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.env, bytes.NewReader(s.stdin), &stdout, &stderr
	// A group of its own, so that delegates die with it; a grace, for those that keep stdout open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := launch(cmd.Start); err != nil {
		return reply{}, fmt.Errorf("start %s: %w", s.binary, err)
	}
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if s.killAfter > 0 {
		defer time.AfterFunc(s.killAfter, kill).Stop()
	}
	watchdog := time.AfterFunc(s.timeout, kill)
	err := cmd.Wait()
	r := reply{stdout: stdout.Bytes(), stderr: stderr.Bytes(), exit: cmd.ProcessState.ExitCode(), hung: !watchdog.Stop()}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return r, fmt.Errorf("run %s: %w", s.binary, err)
	}
	return r, nil
}

// pure returns an error unless stdout holds what the specification says for the exit status: one
// result, one error object, or nothing.
func (r reply) pure() error {
	switch {
	case r.hung:
		return errors.New("it did not end in time and was killed")
	case r.exit < 0:
		return errors.New("it died of a signal")
	case r.exit != 0:
		_, err := r.cniError()
		return err
	case r.command == "ADD" || r.command == "VERSION":
		var object map[string]any
		return decodeOne(r.stdout, &object)
	case len(r.stdout) > 0:
		return errors.New("it printed to stdout, where a success of this verb prints nothing")
	}
	return nil
}

// cniError returns the error object that a failed run printed.
func (r reply) cniError() (*types.Error, error) {
	var e types.Error
	if err := decodeOne(r.stdout, &e); err != nil {
		return nil, fmt.Errorf("exit status %d without one CNI error object on stdout: %w", r.exit, err)
	}
	if e.Code == 0 || e.Msg == "" {
		return nil, fmt.Errorf("exit status %d with an error object that has no code or no msg", r.exit)
	}
	return &e, nil
}

func decodeOne(stdout []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(stdout))
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("stdout is not JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("stdout holds more than one JSON object")
	}
	return nil
}

// String quotes the run for a failure's message.
func (r reply) String() string {
	return fmt.Sprintf("%s: exit status %d\nstdout: %.2000s\nstderr: %.2000s", r.command, r.exit, r.stdout, r.stderr)
}
