// SPDX-License-Identifier: Apache-2.0

// Package daemon is what "birdd run" does: a list of tasks around the NodeConfig.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/birdconf"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/reload"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/source"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/summary"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/watch"
	"flock.fritzlab.net/flock/internal/hint"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/task"
)

// Options say where everything is.
type Options struct {
	Source    source.Source
	Passwords Passwords
	// BirdConf is the file that BIRD reads, empty where another speaker reads the announcement table.
	BirdConf string
	StateDir string
	// Table is the announcement table.
	Table uint32
	// Patience is how long a new configuration may be without a session where there was one before.
	Patience time.Duration
	// Listen is the address of the health endpoints, empty for none.
	Listen string
	Log    *slog.Logger
}

// Passwords brings the passwords of sessions.
type Passwords interface {
	// ReadAll returns the passwords of a NodeConfig's peers, by peer, and why the others cannot be read; an
	// error that matches [password.ErrPending] tells that this may change in a moment.
	ReadAll(context.Context, *v1alpha1.Config) (map[string]password.Password, map[string]error)
}

// daemon is what the tasks share.
type daemon struct {
	Options
	problems  *problems
	config    atomic.Pointer[v1alpha1.Config]
	sourced   task.Trigger // the NodeConfig may have changed
	summaries task.Trigger // the summaries may differ from the NodeConfig's
	deaths    task.Trigger // a link has died by which addresses were announced
	speaker   *speaker
}

// Run works until the context ends, and then leaves everything as it is.
func Run(ctx context.Context, o Options) error {
	if err := prepare(o); err != nil {
		return err
	}
	handle, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer handle.Close()
	conn, err := rtnl.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	d := newDaemon(o, handle)
	tasks, err := d.tasks(ctx, summary.NewKeeper(conn, rebuild.Store(o.StateDir)))
	if err != nil {
		return err
	}
	d.takeConfig() // so that no other task begins with nothing to do
	o.Log.Info("birdd runs", "birdConf", o.BirdConf, "stateDir", o.StateDir, "table", o.Table)
	return task.Run(ctx, tasks...)
}

// prepare makes the folders, and gives BIRD something to start with.
func prepare(o Options) error {
	if err := os.MkdirAll(o.StateDir, 0o755); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	if o.BirdConf == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(o.BirdConf), 0o755); err != nil {
		return fmt.Errorf("make BIRD's folder: %w", err)
	}
	_, err := os.Stat(o.BirdConf)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return reload.Write(o.BirdConf, birdconf.Bootstrap)
}

func newDaemon(o Options, handle *netlink.Handle) *daemon {
	needs := []string{areaNodeConfig, areaSummaries}
	if o.BirdConf != "" {
		needs = append(needs, areaBird)
	}
	d := &daemon{Options: o, problems: newProblems(o.Log, o.StateDir, needs), sourced: task.NewTrigger(), summaries: task.NewTrigger(), deaths: task.NewTrigger()}
	d.speaker = &speaker{
		log: o.Log, problems: d.problems, config: d.config.Load, passwords: o.Passwords, table: o.Table,
		own: func() ([]netip.Addr, error) { return watch.Addresses(handle) },
		loader: &reload.Loader{
			File: o.BirdConf, Socket: filepath.Join(o.StateDir, status.ControlSocket), Patience: o.Patience, Now: time.Now,
		},
		trigger: task.NewTrigger(),
	}
	return d
}

// tasks opens what can fail for good before anything runs.
func (d *daemon) tasks(ctx context.Context, keeper *summary.Keeper) ([]task.Task, error) {
	kernel, err := watch.Open(d.Table)
	if err != nil {
		return nil, err
	}
	kernel.Summary, kernel.Address, kernel.Death = d.summaries.Fire, d.speaker.changed, d.deaths.Fire
	hints, err := hint.Listen(d.StateDir)
	if err != nil {
		return nil, err
	}
	tasks := []task.Task{
		task.Func("source", func(ctx context.Context) error { return d.Source.Run(ctx, d.sourced.Fire) }),
		task.Func("config", d.keepConfig),
		task.Func("kernel", kernel.Run),
		task.Func("hints", func(ctx context.Context) error { return d.takeHints(ctx, hints) }),
		task.Func("summaries", func(ctx context.Context) error { return d.keepSummaries(ctx, keeper) }),
	}
	if d.BirdConf != "" {
		tasks = append(tasks, d.speaker, task.Func("deaths", d.answerDeaths))
	}
	if d.Listen == "" {
		return tasks, nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", d.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for health checks: %w", err)
	}
	return append(tasks, task.Func("health", func(ctx context.Context) error { return d.serveHealth(ctx, listener) })), nil
}
