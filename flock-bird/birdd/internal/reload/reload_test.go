// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/birdctl"
	"flock.fritzlab.net/flock/test/lab"
)

const first = "router id 10.0.0.1;\nprotocol device {}\n"

// rig is a BIRD and its loader.
type rig struct {
	*testing.T
	bird *lab.Bird
	*Loader
}

func newRig(t *testing.T) *rig {
	t.Helper()
	netns, err := lab.NewNetns(lab.UniqueName("flt-reload"))
	must(t, err)
	t.Cleanup(func() { netns.Delete() })
	dir := t.TempDir()
	r := &rig{T: t, Loader: &Loader{File: filepath.Join(dir, "bird.conf"), Socket: filepath.Join(dir, "bird.ctl"), Patience: time.Minute, Now: time.Now}}
	must(t, Write(r.File, []byte(first)))
	r.bird, err = netns.StartBird(t.Context(), r.File, r.Socket)
	must(t, err)
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ensure asks for the text and checks what comes of it: the outcome, and what the file holds then.
func (r *rig) ensure(text string, want Outcome, file string) error {
	r.Helper()
	got, err := r.Ensure(r.Context(), Text{Conf: []byte(text)})
	if got != want {
		r.Errorf("Ensure() = %s, %v, want %s", got, err, want)
	}
	content, rerr := os.ReadFile(r.File)
	if rerr != nil || string(content) != file {
		r.Errorf("the file holds %q, %v, want %q", content, rerr, file)
	}
	if _, err := os.Stat(r.File + ".next"); !errors.Is(err, fs.ErrNotExist) {
		r.Errorf("a staged file is left: %v", err)
	}
	return err
}

// routerID is how a test sees which configuration BIRD runs.
func (r *rig) routerID() string {
	r.Helper()
	conn, err := birdctl.Dial(r.Context(), r.Socket)
	must(r.T, err)
	defer conn.Close()
	status, err := conn.Status(r.Context())
	must(r.T, err)
	return status.RouterID
}

func TestEnsure(t *testing.T) {
	r := newRig(t)
	second := strings.Replace(first, "10.0.0.1", "10.0.0.2", 1)
	must(t, r.ensure(second, Loaded, second))
	if id := r.routerID(); id != "10.0.0.2" {
		t.Errorf("BIRD runs with router ID %s", id)
	}
	must(t, r.ensure(second, Unchanged, second))
	err := r.ensure("protocol nonsense {}\n", Refused, second)
	if refused := (*birdctl.Error)(nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("the refusal is %v", err)
	}
	must(t, r.ensure(second, Unchanged, second))
	must(t, r.ensure(first, Loaded, first))
	if id := r.routerID(); id != "10.0.0.1" {
		t.Errorf("BIRD runs with router ID %s", id)
	}
}

// TestOtherBird: a BIRD that was started again may run anything.
func TestOtherBird(t *testing.T) {
	r := newRig(t)
	second := strings.Replace(first, "10.0.0.1", "10.0.0.2", 1)
	must(t, r.ensure(second, Loaded, second))
	must(t, r.bird.End(t.Context(), unix.SIGKILL))
	if err := r.ensure(second, Failed, second); err == nil {
		t.Error("no error without a BIRD")
	}
	if err := r.ensure(first, Failed, second); err == nil { // nobody has checked it
		t.Error("no error without a BIRD")
	}
	must(t, r.bird.Restart(t.Context()))
	must(t, r.ensure(second, Loaded, second))
	must(t, r.bird.End(t.Context(), unix.SIGKILL))
	must(t, r.bird.Restart(t.Context()))
	must(t, r.ensure(second, Loaded, second)) // without having noticed
}

func TestHangingBirdFails(t *testing.T) {
	r := newRig(t)
	must(t, r.ensure(first, Loaded, first))
	must(t, unix.Kill(r.bird.PID(), unix.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if outcome, err := r.Ensure(ctx, Text{Conf: []byte("x")}); outcome != Failed || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ensure() = %s, %v", outcome, err)
	}
	must(t, unix.Kill(r.bird.PID(), unix.SIGCONT))
	must(t, r.ensure(first, Loaded, first))
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chown(dir, -1, 12345))
	file := filepath.Join(dir, "bird.conf")
	must(t, os.WriteFile(file+".next", []byte("left by a crash, and longer"), 0o666))
	for _, text := range []string{"one", "two"} {
		must(t, Write(file, []byte(text)))
		content, err := os.ReadFile(file)
		if err != nil || string(content) != text {
			t.Errorf("the file holds %q, %v", content, err)
		}
		var stat unix.Stat_t
		must(t, unix.Stat(file, &stat))
		if stat.Mode&0o7777 != 0o640 || stat.Gid != 12345 {
			t.Errorf("the file has mode %o and group %d", stat.Mode&0o7777, stat.Gid)
		}
	}
	if err := Write(filepath.Join(dir, "absent", "bird.conf"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Write into no folder: %v", err)
	}
}
