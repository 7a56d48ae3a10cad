// SPDX-License-Identifier: Apache-2.0

// Package allocators has extensions pick addresses for flock-ipam, and takes back with them what no attachment has any
// more.
//
// Whose an address is, the node's store says, and the extension remembers it for the other nodes. So nothing is taken
// back that the store has, or that an ADD may be about to put there.
package allocators

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Extension runs an allocator's program: an [extension.Supervisor].
type Extension interface {
	Run(context.Context) error
	Client() (any, error)
	State() extension.State
}

// Allocators are the extensions that the node's pools name. It is a task of ipamd, and answers for them.
type Allocators struct {
	// Node is the node's name.
	Node string
	// Pools returns the pools of node.json.
	Pools func() ([]pool.Pool, error)
	Store store.Store
	// Describe returns a pod as the API server has it; it may wait for it until the context ends.
	Describe func(context.Context, cni.Pod) (allocator.Pod, error)
	// Routed tells whether the kernel has a route to this one address.
	Routed func(netip.Addr) (bool, error)
	// CoolDown is how long what a pod had is left alone where its namespace does not go.
	CoolDown func() time.Duration
	// Launch returns what runs the extension of a name, and calls the function when its state has changed.
	Launch func(name string, changed func()) Extension
	// Roster is the file that says which extensions may have given something, and to whom: they are run until they have
	// nothing any more.
	Roster string
	// Names is a file with the names of these extensions that outlives a reboot.
	Names string
	// SinceBoot is the clock.
	SinceBoot func() time.Duration
	// Interval is how often everything is compared, whether something has changed or not.
	Interval time.Duration
	// Report gets what is wrong in an area, nil when nothing is.
	Report func(area string, err error)
	// Changed is called when [Allocators.Down] may say something else.
	Changed func()
	Log     *slog.Logger

	trigger task.Trigger
	roster  *roster
	mu      sync.Mutex
	keepers map[string]*keeper
	news    chan struct{} // closed when something has changed that somebody may wait for
}

// rest is how long after something was done nothing is done about another change.
const rest = 20 * time.Millisecond

// New returns Allocators, of which the fields are to be set.
func New() *Allocators {
	return &Allocators{trigger: task.NewTrigger(), keepers: map[string]*keeper{}, news: make(chan struct{})}
}

// Name is the task's name.
func (a *Allocators) Name() string { return "allocators" }

// PoolsChanged tells that node.json may name other allocators now.
func (a *Allocators) PoolsChanged() { a.trigger.Fire() }

// StoreChanged tells that attachments may have come or gone.
func (a *Allocators) StoreChanged() {
	for _, k := range a.all() {
		k.trigger.Fire()
	}
}

// Run runs the extensions that the pools name, and those that have something still, until the context ends.
func (a *Allocators) Run(ctx context.Context) error {
	var err error
	if a.roster, err = openRoster(a.Roster, a.Names); err != nil {
		a.Log.Error("what was freed meanwhile is taken back late", "problem", err.Error())
	}
	var running sync.WaitGroup
	defer running.Wait()
	return task.Loop(ctx, a.trigger, rest, a.Interval, func(ctx context.Context) {
		a.Report("allocators", a.keep(ctx, &running))
	})
}

// keep starts the extensions that are missing, and ends those that nobody needs.
func (a *Allocators) keep(ctx context.Context, running *sync.WaitGroup) error {
	pools, err := a.Pools()
	if err != nil {
		return fmt.Errorf("read which allocators the pools have: %w", err)
	}
	named := names(pools)
	wanted := slices.Concat(named, a.roster.names())
	slices.Sort(wanted)
	wanted = slices.DeleteFunc(slices.Compact(wanted), func(name string) bool {
		return !slices.Contains(named, name) && a.get(name).done()
	})
	for _, k := range a.all() {
		if !slices.Contains(wanted, k.name) {
			a.end(k)
		}
	}
	if err := a.roster.keep(wanted); err != nil { // before one is started that may give something
		return err
	}
	for _, name := range wanted {
		if a.get(name) == nil {
			a.start(ctx, name, running)
		}
	}
	return nil
}

// names returns the extensions that pools name, in order.
func names(pools []pool.Pool) []string {
	var all []string
	for _, p := range pools {
		if p.External() {
			all = append(all, p.Allocator)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (a *Allocators) start(ctx context.Context, name string, running *sync.WaitGroup) {
	k := newKeeper(a, name)
	ctx, k.cancel = context.WithCancel(ctx)
	k.extension = a.Launch(name, func() { k.trigger.Fire(); a.tell() })
	a.mu.Lock()
	a.keepers[name] = k
	a.mu.Unlock()
	running.Go(func() { k.run(ctx) })
	a.tell()
}

func (a *Allocators) end(k *keeper) {
	a.Log.Info("an allocator is not needed any more", "allocator", k.name)
	k.cancel()
	<-k.ended
	a.mu.Lock()
	delete(a.keepers, k.name)
	a.mu.Unlock()
	a.Report(k.area(), nil)
	a.tell()
}

// tell wakes those who wait for an extension.
func (a *Allocators) tell() {
	a.mu.Lock()
	close(a.news)
	a.news = make(chan struct{})
	a.mu.Unlock()
	a.Changed()
}

func (a *Allocators) get(name string) *keeper {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keepers[name]
}

func (a *Allocators) all() []*keeper {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*keeper
	for _, k := range a.keepers {
		all = append(all, k)
	}
	return all
}
