// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/plugins/cni"
)

var (
	testplugin, baseline string // the executables
	container            string // the path of a network namespace
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "flt-cni-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		testplugin, baseline = filepath.Join(dir, "testplugin"), filepath.Join(dir, "baseline")
		out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir, "./internal/...").CombinedOutput()
		if err != nil {
			panic(fmt.Sprintf("build the plugins: %v\n%s", err, out))
		}
		defer holdNetns()()
		return m.Run()
	}())
}

// holdNetns starts a process in a network namespace of its own, which lives as long as its stdin.
func holdNetns() (release func()) {
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := cmd.StdinPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		panic(fmt.Sprintf("start a process in a network namespace (this needs root): %v", err))
	}
	container = fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	return func() {
		stdin.Close()
		cmd.Wait()
	}
}

// conf is a configuration with some keys changed; a nil value removes the key.
type conf map[string]any

func (c conf) json(t *testing.T) []byte {
	t.Helper()
	all := map[string]any{"cniVersion": "1.1.0", "name": "net", "type": "testplugin"}
	maps.Copy(all, c)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	out, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// output is what one run left.
type output struct {
	code           int
	stdout, stderr string
}

// run executes the test plugin. env is added to what a runtime sets.
func run(t *testing.T, verb string, stdin []byte, env ...string) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testplugin)
	cmd.Env = append([]string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=" + container, "CNI_PATH=/nonexistent",
	}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return output{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// object decodes stdout, which must hold one JSON object and nothing else.
func (o output) object(t *testing.T, v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader([]byte(o.stdout)))
	if err := dec.Decode(v); err != nil {
		t.Fatalf("stdout %q: %v", o.stdout, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("stdout holds more than one object: %q", o.stdout)
	}
}

// succeeded fails the test unless the run ended well.
func (o output) succeeded(t *testing.T) {
	t.Helper()
	if o.code != 0 {
		t.Fatalf("exit status %d, stdout %s", o.code, o.stdout)
	}
}

// failed returns the error that the run printed.
func (o output) failed(t *testing.T) types.Error {
	t.Helper()
	if o.code != 1 {
		t.Fatalf("exit status %d, want 1; stdout %s", o.code, o.stdout)
	}
	var e types.Error
	o.object(t, &e)
	return e
}

// seen is what the test plugin's verb saw.
type seen struct {
	Verb       string
	Network    string
	Attachment cni.Attachment
	Pod        cni.Pod
	Netns      string
	HasPrev    bool
	Own        string
	IPAMType   string
	Runtime    string
	Valid      [3]bool
}

func read(t *testing.T, file string) (s seen) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("the verb did not run: %v", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}
