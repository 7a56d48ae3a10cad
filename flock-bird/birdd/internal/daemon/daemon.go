// SPDX-License-Identifier: Apache-2.0

// Package daemon is what "birdd run" does: a list of tasks around the NodeConfig.
package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/bird"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/metrics"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/reload"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/retired"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/source"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakers"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/summary"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/verdict"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/watch"
	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/health"
	"flock.fritzlab.net/flock/internal/rebuild"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// Options say where everything is. Exactly one of File and Cluster is set.
type Options struct {
	File    *File
	Cluster *Cluster
	// BirdConf is the file that BIRD reads, empty where birdd has no BIRD: then "bird" in a NodeConfig is whichever speaker
	// reads the announcement table.
	BirdConf string
	StateDir string
	// Table is the announcement table.
	Table uint32
	// Patience is how long a new configuration may be without a session where there was one before.
	Patience time.Duration
	// Listen is the address of the health and metrics endpoints, empty for none.
	Listen string
	Log    *slog.Logger
}

// File is where everything is that the API server would have.
type File struct {
	NodeConfig string
	// Passwords may be empty where no peer has a password.
	Passwords password.Dir
}

// Passwords brings the passwords of sessions.
type Passwords interface {
	// ReadAll returns the passwords of a NodeConfig's peers, by peer, and why the others cannot be read; an
	// error that matches [password.ErrPending] tells that this may change in a moment.
	ReadAll(context.Context, *v1alpha1.Config) (map[string]speaker.Password, map[string]error)
}

// daemon is what the tasks share.
type daemon struct {
	Options
	health    *health.Health
	source    source.Source
	cluster   *cluster // nil without Kubernetes
	config    atomic.Pointer[current]
	seen      atomic.Pointer[verdict.Seen]
	metrics   *metrics.Metrics
	sourced   task.Trigger // the NodeConfig may have changed
	summaries task.Trigger // the summaries may differ from the NodeConfig's
	deaths    task.Trigger // a link has died by which addresses were announced
	looks     task.Trigger // there may be something new to see
	sessions  *sessions
	calls     *extension.Metrics
}

// current is the NodeConfig that birdd goes by, nil before the first valid one, and why it does not go by
// the NodeConfig as it is now.
type current struct {
	config *v1alpha1.Config
	err    error
}

// Run works until the context ends, and then leaves everything as it is.
func Run(ctx context.Context, o Options) error {
	listener, err := listen(ctx, o.Listen) // before a birdd that runs already loses anything to this one
	if err != nil {
		return err
	}
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
	tasks, err := d.tasks(conn)
	if err != nil {
		return err
	}
	if listener != nil {
		tasks = append(tasks, d.serve(listener))
	}
	if d.cluster == nil {
		d.takeConfig() // so that no other task begins with nothing to do
	}
	o.Log.Info("birdd runs", "birdConf", o.BirdConf, "stateDir", o.StateDir, "table", o.Table)
	return task.Run(ctx, tasks...)
}

// listen returns nil for no address.
func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	return health.Listen(ctx, address)
}

// serve answers health checks and shows the metrics.
func (d *daemon) serve(listener net.Listener) task.Task {
	registry := health.NewRegistry()
	registry.MustRegister(d.metrics, d.calls)
	return task.Func("health", func(ctx context.Context) error { return d.health.Serve(ctx, listener, registry) })
}

// prepare makes the folders, and gives BIRD something to start with.
func prepare(o Options) error {
	if err := os.MkdirAll(o.StateDir, 0o755); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	if o.BirdConf == "" {
		return nil
	}
	return bird.Prepare(o.BirdConf)
}

func newDaemon(o Options, handle *netlink.Handle) *daemon {
	d := &daemon{Options: o, health: newHealth(o), sourced: task.NewTrigger(), summaries: task.NewTrigger(),
		deaths: task.NewTrigger(), looks: task.NewTrigger()}
	d.config.Store(&current{})
	d.metrics, d.calls = metrics.New(d.seen.Load), extension.NewMetrics("birdd")
	d.sessions = newSessions(d, handle)
	d.health.Need(needs(d.sessions)...)
	return d
}

func newSessions(d *daemon, handle *netlink.Handle) *sessions {
	s := &sessions{
		log: d.Log, health: d.health, table: d.Table, managed: d.BirdConf != "", first: d.summaries.Fire, done: d.tried,
		own:     func() ([]netip.Addr, error) { return watch.Addresses(handle) },
		clear:   func(name string) error { return clearLeftovers(handle, d.StateDir, name) },
		trigger: task.NewTrigger(),
	}
	s.bird = bird.New(bird.Options{Conf: d.BirdConf, Socket: bird.Socket(d.StateDir), Patience: d.Patience, Done: d.tried})
	s.all = speakers.New(d.StateDir, s.bird, d.calls)
	name, err := s.all.Noted()
	if err != nil {
		d.Log.Warn("which speaker the node had is not known", "error", err)
		name = v1alpha1.SpeakerBIRD
	}
	s.holder = name
	s.named.Store(&name)
	s.name.Store(&name)
	return s
}

// tried notes what became of an attempt to have the speaker go by another configuration.
func (d *daemon) tried(outcome reload.Outcome) {
	if outcome == reload.Loaded {
		d.Log.Info("the speaker goes by a new configuration", "speaker", *d.sessions.name.Load())
	}
	d.metrics.Reload(outcome)
	d.looks.Fire()
}

// tasks opens what can fail for good before anything runs.
func (d *daemon) tasks(conn *rtnl.Conn) ([]task.Task, error) {
	tasks, err := d.sourceTasks(conn)
	if err != nil {
		return nil, err
	}
	kernel, err := watch.Open(d.Table)
	if err != nil {
		return nil, err
	}
	kernel.Summary, kernel.Address, kernel.Death = d.summaries.Fire, d.sessions.changed, d.deaths.Fire
	keeper := summary.NewKeeper(conn, rebuild.Store(d.StateDir))
	d.sessions.pools = retired.New(d.StateDir, keeper.Unicast)
	return append(tasks,
		task.Func("config", d.keepConfig),
		task.Func("kernel", kernel.Run),
		task.Func("summaries", func(ctx context.Context) error { return d.keepSummaries(ctx, keeper) }),
		task.Func("look", d.keepLooking),
		d.sessions,
		task.Func("deaths", d.answerDeaths),
	), nil
}

// sourceTasks opens where the NodeConfig and the passwords are, and returns what follows them.
func (d *daemon) sourceTasks(conn *rtnl.Conn) ([]task.Task, error) {
	if d.Options.Cluster != nil {
		return d.join(conn)
	}
	file, err := source.Open(d.File.NodeConfig)
	if err != nil {
		return nil, err
	}
	d.source, d.sessions.passwords = file, d.File.Passwords
	return []task.Task{task.Func("source", func(ctx context.Context) error { return file.Run(ctx, d.sourced.Fire) })}, nil
}
