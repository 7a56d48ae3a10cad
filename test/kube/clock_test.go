// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// Nothing shifts CLOCK_REALTIME for some processes alone: time namespaces leave it out, and a static Go program asks
// the vDSO. So the programs under test are built from the same sources with another package time: its Now adds what
// a file says, which is mapped into every process. The monotonic clock stays, as it does when a clock is set.

// clockFile is the variable that names the file with the seconds to add.
const clockFile = "FLOCK_TEST_CLOCK"

// shiftSource is added to package time.
const shiftSource = `package time

import (
	"syscall"
	"unsafe"
)

var shift = new(int64)

func init() {
	path, found := syscall.Getenv("` + clockFile + `")
	if !found {
		return
	}
	file, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(path + ": " + err.Error())
	}
	page, err := syscall.Mmap(file, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(path + ": " + err.Error())
	}
	syscall.Close(file)
	shift = (*int64)(unsafe.Pointer(&page[0]))
}
`

// buildShifted builds flock's programs with that package time and returns their folder.
func buildShifted(t *testing.T) string {
	t.Helper()
	root, err := build.Root()
	check(t, err)
	overlay, dir := writeOverlay(t), filepath.Join(t.TempDir(), "bin")
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-overlay", overlay, "-o", dir + "/"}, build.Programs...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build with a shifted clock: %v\n%s", err, out)
	}
	return dir
}

// writeOverlay returns a file for "go build -overlay".
func writeOverlay(t *testing.T) string {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	check(t, err)
	original := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	check(t, err)
	const asks = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), asks) != 1 {
		t.Fatalf("%s asks for the time elsewhere than this test knows", original)
	}
	dir := t.TempDir()
	changed, added := filepath.Join(dir, "time.go"), filepath.Join(dir, "shift.go")
	check(t, os.WriteFile(changed, []byte(strings.Replace(string(source), asks, asks+"\tsec += *shift\n", 1)), 0o644))
	check(t, os.WriteFile(added, []byte(shiftSource), 0o644))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: changed, filepath.Join(filepath.Dir(original), "flock_shift.go"): added,
	}})
	check(t, err)
	path := filepath.Join(dir, "overlay.json")
	check(t, os.WriteFile(path, overlay, 0o644))
	return path
}

// clock is what the programs add to the time.
type clock []byte

// newClock makes a clock that is right, for what this process starts from now on.
func newClock(t *testing.T) clock {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clock")
	check(t, os.WriteFile(path, make([]byte, 8), 0o644))
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer file.Close()
	page, err := unix.Mmap(int(file.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(t, err)
	t.Cleanup(func() { check(t, unix.Munmap(page)) })
	t.Setenv(clockFile, path)
	return page
}

// jump sets how far the clock is from the true time.
func (c clock) jump(by time.Duration) { binary.NativeEndian.PutUint64(c, uint64(by/time.Second)) }

// TestClockJumps lets the clock of all that flock runs jump an hour, forward and back. Nobody loses an address, the
// dead give theirs back, rested ones are not given out early, and what is announced follows readiness.
func TestClockJumps(t *testing.T) {
	clock := newClock(t)
	s := newSite(t, apiserver.Start(t), options{bin: buildShifted(t)})
	web := s.attach("web", nil)
	dns := s.attach("dns", annotations{"anycast": anycast6 + "," + anycast4})
	s.api.SetReady(t, dns.object, true)
	s.awaitAnnounced(true, anycast6, anycast4)
	flows := s.startFlows(append(web.Addresses(), netip.MustParseAddr(anycast6))...)
	for i, at := range []time.Duration{time.Hour, 0, -time.Hour, time.Hour} {
		t.Run(fmt.Sprintf("%d to %s", i, at), func(t *testing.T) {
			released := s.attach(fmt.Sprintf("released%d", i), nil)
			check(t, s.del(released))
			clock.jump(at)
			s.wantLife(fmt.Sprintf("after%d", i))
			wantClock(t, s.Ipamd, at)
			wantClock(t, s.Birdd, at)
			s.awaitCooling(int64(4 * (i + 1))) // both pods of this round and of those before, in both families
		})
	}
	wantWhole(t, flows)
	s.awaitAnnounced(true, anycast6, anycast4)
}

// wantClock waits until the jump has reached the daemon, by the time that it logs: what is logged was done before.
func wantClock(t *testing.T, p *lab.Process, at time.Duration) {
	t.Helper()
	await(t, fmt.Sprintf("the clock of %s is %s from the truth", p.Name, at), func() error {
		words := strings.Split(p.LastWords(), "\n")
		var last struct{ Time time.Time }
		if err := json.Unmarshal([]byte(words[len(words)-1]), &last); err != nil {
			return err
		}
		if off := time.Until(last.Time); (off - at).Abs() > time.Minute {
			return fmt.Errorf("it is %s", off)
		}
		return nil
	})
}

// wantLife wants that a pod comes, is announced while it is ready, and that its death is noticed without a DEL.
func (s *site) wantLife(name string) {
	s.t.Helper()
	p := s.attach(name, annotations{"anycast": other6})
	for _, ready := range []bool{true, false} {
		s.api.SetReady(s.t, p.object, ready)
		s.awaitAnnounced(ready, other6)
		s.wantReachable(p)
	}
	check(s.t, p.Delete())
	s.api.RemovePod(s.t, p.object)
	s.awaitReleased(p)
}

// awaitCooling waits until the status tells that so many addresses cool down.
func (s *site) awaitCooling(want int64) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("%d addresses cool down", want), func() error {
		nc, err := s.nodeConfig()
		if err != nil {
			return err
		}
		var cooling int64
		for _, pool := range nc.Status.Pools {
			cooling += pool.Cooling
		}
		if cooling != want {
			return fmt.Errorf("%d do", cooling)
		}
		return nil
	})
}
