// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// memory is an allocator that gives 10.0.0.1, 10.0.0.2 and so on, and the extension that it is.
type memory struct {
	mu    sync.Mutex
	given []allocator.Allocation
	down  error // why it is not up
	fail  error // what it answers
	lost  int   // how often it is lost before it answers
	hang  bool
	asked []string // whom to take back from
	runs  atomic.Int32
}

func (m *memory) Run(ctx context.Context) error {
	m.runs.Add(1)
	defer m.runs.Add(-1)
	<-ctx.Done()
	return nil
}

func (m *memory) Client() (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return nil, m.down
	}
	return m, nil
}

func (m *memory) State() extension.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return extension.State{LastError: m.down.Error()}
	}
	return extension.State{Up: true}
}

// says has what the allocator does changed.
func (m *memory) says(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *memory) Allocate(ctx context.Context, r allocator.Request) (netip.Addr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hang {
		<-ctx.Done()
		return netip.Addr{}, ctx.Err()
	}
	if m.fail != nil {
		return netip.Addr{}, m.fail
	}
	if m.lost > 0 {
		m.lost--
		return netip.Addr{}, status.Error(codes.Unavailable, "the connection is gone")
	}
	addr := r.Pool.Prefix.Addr().Next()
	for _, g := range m.given {
		if g.Attachment == r.Attachment {
			return g.Address, nil
		}
		addr = g.Address.Next()
	}
	m.given = append(m.given, allocator.Allocation{Attachment: r.Attachment, Pool: r.Pool.Name, Address: addr})
	return addr, nil
}

func (m *memory) Release(_ context.Context, a allocator.Attachment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, a.ContainerID)
	m.given = slices.DeleteFunc(m.given, func(g allocator.Allocation) bool { return g.Attachment == a })
	return m.fail
}

func (m *memory) List(context.Context, string) ([]allocator.Allocation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.given), m.fail
}

func (m *memory) has() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, g := range m.given {
		ids = append(ids, g.Attachment.ContainerID)
	}
	return strings.Join(ids, " ")
}

// yard is Allocators with what they need.
type yard struct {
	*Allocators
	t      *testing.T
	clock  atomic.Int64
	routed atomic.Bool
	ext    map[string]*memory
	mu     sync.Mutex
	specs  []pool.Spec
	wrong  map[string]string // by area
	stop   func()
}

func newYard(t *testing.T, allocators ...string) *yard {
	t.Helper()
	y := &yard{Allocators: New(), t: t, ext: map[string]*memory{}, wrong: map[string]string{}, stop: func() {}}
	y.clock.Store(int64(time.Hour))
	for i, name := range allocators {
		y.ext[name] = &memory{}
		y.specs = append(y.specs, pool.Spec{Name: "by-" + name, CIDR: fmt.Sprintf("10.0.%d.0/24", i), Gateway: fmt.Sprintf("10.0.%d.254", i), Allocator: name})
	}
	dir := t.TempDir()
	y.Node, y.Store, y.Roster, y.Interval = "node1", store.Store{Dir: dir}, filepath.Join(dir, "allocators.json"), 50*time.Millisecond
	y.Pools = func() ([]pool.Pool, error) {
		y.mu.Lock()
		defer y.mu.Unlock()
		return pool.Parse(y.specs)
	}
	y.Describe = func(_ context.Context, p cni.Pod) (allocator.Pod, error) { return allocator.Pod{Name: p.Name}, nil }
	y.Routed = func(netip.Addr) (bool, error) { return y.routed.Load(), nil }
	y.Launch = func(name string, _ func()) Extension { return y.ext[name] }
	y.SinceBoot = func() time.Duration { return time.Duration(y.clock.Add(1)) }
	y.Report = func(area string, err error) {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.wrong[area] = fmt.Sprint(err)
	}
	y.Changed, y.Log = func() {}, slog.New(slog.DiscardHandler)
	return y
}

// start runs it until stop, or until the test ends.
func (y *yard) start() {
	y.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- y.Run(ctx) }()
	y.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			y.t.Error(err)
		}
	})
	y.t.Cleanup(y.stop)
}

// again starts another ipamd in the place of this one.
func (y *yard) again() {
	y.t.Helper()
	y.stop()
	fresh := New()
	y.trigger, y.keepers, y.news = fresh.trigger, fresh.keepers, fresh.news
	y.start()
}

func (y *yard) ask(id, name string, wait time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(y.t.Context(), wait)
	defer cancel()
	pools, err := y.Pools()
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(pools, func(p pool.Pool) bool { return p.Allocator == name })
	addr, err := y.Allocate(ctx, lookup.Want{Attachment: one(id), StateDir: y.Store.Dir, Pool: pools[i].Name, Within: pools[i].Prefix})
	return addr.String(), err
}

// gives is a question that must be answered by this address, which then is put into the store.
func (y *yard) gives(want, id, name string) {
	y.t.Helper()
	got, err := y.ask(id, name, 10*time.Second)
	if err != nil || got != want {
		y.t.Fatalf("%s gives %s %s, %v; want %s", name, id, got, err, want)
	}
}

func (y *yard) put(id, addr string) {
	y.t.Helper()
	alloc := store.Allocation{Attachment: one(id), State: store.Committed, Addresses: []netip.Addr{netip.MustParseAddr(addr)}}
	if err := y.Store.Update(func(tx *store.Tx) error { return tx.Put(alloc) }); err != nil {
		y.t.Fatal(err)
	}
	y.StoreChanged()
}

func (y *yard) del(id string) {
	y.t.Helper()
	if err := y.Store.Update(func(tx *store.Tx) error { return tx.Release(one(id), y.SinceBoot()) }); err != nil {
		y.t.Fatal(err)
	}
	y.StoreChanged()
}

func (y *yard) eventually(what string, check func() error) {
	y.t.Helper()
	if err := lab.Within(y.t.Context(), 10*time.Second, what, check); err != nil {
		y.t.Fatal(err)
	}
}

// has waits until the allocator has given to these.
func (y *yard) has(name, want string) {
	y.t.Helper()
	y.eventually(name+" has given to "+want, func() error {
		if got := y.ext[name].has(); got != want {
			return fmt.Errorf("to %s", got)
		}
		return nil
	})
}

// rounds lets two comparisons pass, and wants the allocator to have given to these still.
func (y *yard) rounds(name, want string) {
	y.t.Helper()
	for range 3 {
		begun := time.Now()
		y.eventually("a comparison passes", func() error {
			y.Allocators.mu.Lock()
			k := y.keepers[name]
			y.Allocators.mu.Unlock()
			if k == nil || !k.comparedSince(begun) {
				return errors.New("not yet")
			}
			return nil
		})
	}
	if got := y.ext[name].has(); got != want {
		y.t.Errorf("%s has given to %s, want %s", name, got, want)
	}
}
