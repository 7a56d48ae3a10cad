// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/birdctl"
	"flock.fritzlab.net/flock/test/lab"
	"flock.fritzlab.net/flock/test/tor"
)

// startContained runs BIRD as its container does: with the capabilities that it has there, and a root file system
// that it cannot write.
func (s *site) startContained() *lab.Process {
	s.Helper()
	args := slices.Concat(readOnlyBut(s.dir), onlyCapabilities("net_admin", "net_raw", "net_bind_service"),
		[]string{os.Args[0], "bird", "--bird-conf", s.path("bird.conf"), "--state-dir", s.dir})
	process, err := s.node.Start(s.path("contained.log"), args[0], args[1:]...)
	must(s.T, err)
	return process
}

// onlyCapabilities returns the command line that runs another with no capabilities but these.
func onlyCapabilities(names ...string) []string {
	return []string{"setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+" + strings.Join(names, ",+")}
}

// readOnlyBut returns the command line that runs another where nothing can be written but a folder.
func readOnlyBut(dir string) []string {
	const script = `mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"`
	return []string{"unshare", "--mount", "sh", "-c", script, dir}
}

// ping sends echo requests from the router to an address until the function is called, which returns how
// many were sent and how many not answered. An answer that the test is late to read is none that was lost.
func (r *router) ping(to netip.Addr) func() (sent, lost int) {
	r.site.Helper()
	pinger, err := r.NewPinger(r.site.Context(), to, lab.PingOptions{Timeout: limit})
	must(r.site.T, err)
	ctx, cancel := context.WithCancel(r.site.Context())
	done := make(chan struct{})
	sent, lost := 0, 0
	go func() {
		defer close(done)
		defer pinger.Close()
		for ; ctx.Err() == nil; sent++ {
			if _, err := pinger.Ping(r.site.Context()); err != nil {
				lost++
			}
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Millisecond): // the pace
			}
		}
	}()
	return func() (int, int) { cancel(); <-done; return sent, lost }
}

// newContainedSite is a node whose BIRD runs as in its container, and a pod's address on it.
func newContainedSite(t *testing.T) (*site, *router, netip.Addr) {
	t.Helper()
	s := newSite(t, onBIRD, 1)
	r := s.routers[0]
	pod := netip.MustParseAddr("2001:db8:1::7")
	s.ip("-6 addr add 2001:db8:1::7/128 dev lo")
	s.contained = s.startContained() // before there is a configuration
	s.configure(spec6)
	s.startBirdd()
	r.start(tor.IPv6)
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	s.wantRoutes(s.node, "main", default6, pool6Main)
	return s, r, pod
}

// askBird tells whether the session is up and BIRD through with any recovery.
func (s *site) askBird() (bool, error) {
	conn, err := birdctl.Dial(s.Context(), s.path("bird.ctl"))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	status, err := conn.Do(s.Context(), "show status")
	if err != nil {
		return false, err
	}
	protocols, err := conn.ShowProtocols(s.Context())
	recovers := slices.ContainsFunc(status.Lines, func(l birdctl.Line) bool { return strings.Contains(l.Text, "recovery") })
	return !recovers && slices.ContainsFunc(protocols, birdctl.Protocol.Established), err
}

// wantBird waits until the session is up and BIRD through with any recovery.
func (s *site) wantBird() {
	s.Helper()
	s.eventually("BIRD is up again", func() error {
		up, err := s.askBird()
		if err == nil && !up {
			err = errNotExpected
		}
		return err
	})
}

func TestContainerRestarts(t *testing.T) {
	for _, sig := range []os.Signal{unix.SIGTERM, unix.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			s, r, pod := newContainedSite(t)
			deleted, deletedHere, pinged := s.watchDeletes(r.Netns), s.watchDeletes(s.node), r.ping(pod)
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				must(t, s.contained.End(ctx, sig))
				if _, err := s.askBird(); err == nil {
					t.Error("BIRD runs on")
				}
				s.contained = s.startContained()
				s.wantBird()
			}
			s.wantProblem("", "")
			s.wantRoutes(r.Netns, "main", pool6AtRouter)
			if lost := append(deleted(), deletedHere()...); len(lost) > 0 {
				t.Errorf("routes were lost: %v", lost)
			}
			if sent, lost := pinged(); lost > 0 || sent < 100 {
				t.Errorf("%d of %d packets were lost", lost, sent)
			}
			log, err := os.ReadFile(s.path("contained.log"))
			must(t, err)
			if starts := strings.Count(string(log), "Started"); starts != 3 {
				t.Errorf("BIRD was started %d times:\n%s", starts, log)
			}
		})
	}
}

// TestStuckBird: a BIRD that answers nothing is killed in time, however often the container is told to end, and the router
// takes it for a restart.
func TestStuckBird(t *testing.T) {
	s, r, _ := newContainedSite(t)
	deleted := s.watchDeletes(r.Netns)
	must(t, unix.Kill(child(t, s.contained.PID()), unix.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	must(t, unix.Kill(s.contained.PID(), unix.SIGTERM))
	must(t, s.contained.End(ctx, unix.SIGTERM))
	s.contained = s.startContained()
	s.wantBird()
	s.wantRoutes(r.Netns, "main", pool6AtRouter)
	if lost := deleted(); len(lost) > 0 {
		t.Errorf("the router lost %v", lost)
	}
}

// child returns the process that another has started.
func child(t *testing.T, parent int) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/status")
	must(t, err)
	for _, file := range all {
		text, _ := os.ReadFile(file) // it may have ended
		if strings.Contains(string(text), fmt.Sprintf("\nPPid:\t%d\n", parent)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			must(t, err)
			return pid
		}
	}
	t.Fatalf("process %d has no child", parent)
	return 0
}
