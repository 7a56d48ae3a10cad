// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"flock.fritzlab.net/flock/test/build"
)

// machine is a shell on a copy of this machine: what it writes goes to memory, its network is its own, and all that it
// started ends with it. It has flock's programs, and what the go command has downloaded and built.
type machine struct {
	*testing.T
	// shared is a folder that is the same here and there.
	shared string
	stdin  io.Writer
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// setUp makes the copy and becomes its shell. Go's cache is this machine's.
const setUp = `
mount -t tmpfs tmpfs "$SHARED/copy"
cd "$SHARED/copy" && mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
cd root
mount --rbind /dev dev && mount --rbind /sys sys && mount -t proc proc proc && mount -t tmpfs -o mode=0755 tmpfs run
mkdir -p ".$FLOCK/bin" && ln -sf "$PROGRAMS"/* ".$FLOCK/bin/"
mkdir -p ".$GOCACHE" ".$SHARED" && mount --bind "$GOCACHE" ".$GOCACHE" && mount --bind "$SHARED" ".$SHARED"
ip link set lo up
exec chroot . sh -c 'cd "$SHARED/home" && exec sh'
`

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{T: t, shared: t.TempDir()}
	for _, dir := range []string{"copy", "home"} {
		if err := os.Mkdir(filepath.Join(m.shared, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", setUp)
	cmd.Env, cmd.Stderr = append(os.Environ(), environment(t, m.shared)...), &m.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if m.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.stdout = bufio.NewReader(stdout)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return m
}

// environment is that of a reader who has what the document asks for. Modules come from those that are downloaded already.
func environment(t *testing.T, shared string) []string {
	t.Helper()
	root, err := build.Root()
	if err != nil {
		t.Fatal(err)
	}
	programs, err := build.Flock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reference, err := build.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	goEnv := strings.Fields(string(out))
	return []string{
		"SHARED=" + shared, "FLOCK=" + root, "PROGRAMS=" + programs, "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin:" + reference,
		"GOCACHE=" + goEnv[0], "GOMODCACHE=" + goEnv[1], "GOPROXY=file://" + goEnv[1] + "/cache/download", "GOSUMDB=off", "GOFLAGS=", "GOWORK=off",
	}
}
