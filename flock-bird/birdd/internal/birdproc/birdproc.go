// SPDX-License-Identifier: Apache-2.0

// Package birdproc runs BIRD in a container so that the container may end and start again without a route
// being withdrawn anywhere.
package birdproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/internal/filewatch"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// restartPatience is how long BIRD may take to leave for a graceful restart; it takes some milliseconds.
const restartPatience = 1500 * time.Millisecond

// Options say what to run.
type Options struct {
	// Program is BIRD, Conf its configuration, which may still have to appear.
	Program, Conf string
	// StateDir is where BIRD's control socket goes.
	StateDir string
	Output   io.Writer
}

// Run runs BIRD until the context ends. Then BIRD leaves as for a graceful restart: its routes stay in the
// kernel, and at routers that support it for as long as they have agreed to. A BIRD that ends by
// itself is an error.
func Run(ctx context.Context, o Options) error {
	if err := await(ctx, o.Conf); err != nil || ctx.Err() != nil {
		return err
	}
	socket := bird.Socket(o.StateDir)
	args := []string{"-f", "-c", o.Conf, "-s", socket}
	again, err := ranBefore(bird.Marker(o.StateDir))
	if err != nil {
		return err
	}
	if again {
		args = append(args, "-R")
	}
	cmd := exec.Command(o.Program, args...)
	cmd.Stdout, cmd.Stderr = o.Output, o.Output
	// A group of its own, for signals are to reach BIRD from here alone; and it does not outlive this
	// process, that is the thread that starts it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start BIRD: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return fmt.Errorf("BIRD has ended by itself: %w", errors.Join(err, errEnded))
	case <-ctx.Done():
	}
	return leave(socket, cmd.Process, ended)
}

var errEnded = errors.New("it is to be started again")

// leave has BIRD end and waits for it. BIRD that does not answer, or does not end, is killed, which its peers take for a
// restart too.
func leave(socket string, process *os.Process, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), restartPatience)
	defer cancel()
	err := bird.New(bird.Options{Socket: socket}).Stop(ctx, speaker.StopGraceful)
	if err == nil {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	err = fmt.Errorf("end BIRD for a graceful restart: %w", err)
	if killErr := process.Kill(); !errors.Is(killErr, os.ErrProcessDone) {
		err = errors.Join(err, killErr)
	}
	<-ended
	return err
}

// await waits until the file is there.
func await(ctx context.Context, path string) error {
	watcher, err := filewatch.Watch(path)
	if err != nil {
		return err
	}
	ctx, found := context.WithCancel(ctx)
	defer found()
	look := func() {
		if _, err := os.Stat(path); err == nil {
			found()
		}
	}
	look()
	return watcher.Run(ctx, look)
}

// ranBefore tells whether BIRD has run since the boot, from now on.
func ranBefore(path string) (bool, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("note that BIRD has run: %w", err)
	}
	return false, file.Close()
}
