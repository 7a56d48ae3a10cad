// SPDX-License-Identifier: Apache-2.0

// Package node is the speaker: it ties the kernel's routes to GoBGP's sessions by a configuration.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"syscall"
	"time"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/engine"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/kernel"
	"flock.fritzlab.net/flock/plugins/speaker/speaker-gobgp/internal/rib"
)

// scanEvery is how often the kernel is read whole, as with BIRD.
const scanEvery = 10 * time.Second

// Version is the speaker's name and version, which is that of the module in go.mod.
const Version = "GoBGP 4.8.0"

// Node is the [speaker.Speaker] of the network namespace that the process is in.
type Node struct {
	log    *slog.Logger
	marker marker

	routes task.Trigger // to install
	ended  context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex // of what follows
	config    speaker.Config
	applied   bool // the config, without an error
	rules     rib.Rules
	engine    *engine.Engine // nil without peers
	announced *kernel.Announced
	links     map[string]*link // of unnumbered peers, by peer
	// restarting tells that the node's routers may have routes of an earlier process, and so may the kernel; until
	// holdUntil the latter stay as they are.
	restarting bool
	holdUntil  time.Time
	taken      map[string]map[netip.Prefix]bool // by session
}

// New returns a speaker that does nothing before it is configured. What has to outlive it, but no reboot
// of the node, is in stateDir, unless that is empty.
func New(log *slog.Logger, stateDir string) *Node {
	return &Node{
		log: log, marker: marker{stateDir}, routes: task.NewTrigger(),
		links: map[string]*link{}, taken: map[string]map[netip.Prefix]bool{},
	}
}

// Configure is [speaker.Speaker.Configure].
func (n *Node) Configure(ctx context.Context, c speaker.Config) error {
	if err := refuse(c); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.applied && reflect.DeepEqual(c, n.config) {
		return nil
	}
	n.applied = false
	err := n.apply(ctx, c)
	n.applied = err == nil
	return err
}

func (n *Node) apply(ctx context.Context, c speaker.Config) error {
	if err := n.start(c.Table); err != nil {
		return err
	}
	defer n.routes.Fire()
	n.config, n.rules = c, rib.NewRules(c)
	if err := n.startEngine(ctx); err != nil {
		return err
	}
	n.followLinks()
	if n.engine == nil {
		n.restarting = false
		return n.marker.remove()
	}
	if err := n.marker.write(); err != nil {
		n.log.Warn("the next start will not be known for a restart if the kernel has no route by BGP", "error", err)
	}
	return errors.Join(n.engine.Configure(n.neighbors()), n.announce())
}

// start follows the kernel from the first configuration on.
func (n *Node) start(table uint32) error {
	if n.announced != nil {
		if !n.announced.Of(table) {
			return fmt.Errorf("follow table %d: the speaker follows another: restart it", table)
		}
		return nil
	}
	v, err := openView(table)
	if err != nil {
		return err
	}
	n.announced = v.announced
	n.restarting = v.installed || n.marker.recent()
	ctx, cancel := context.WithCancel(context.Background())
	n.ended = cancel
	n.tasks.Go(func() { n.watch(ctx, v.watcher) })
	n.tasks.Go(func() { n.scan(ctx) })
	n.tasks.Go(func() { n.install(ctx, v.fib) })
	return nil
}

// view is what the node sees of the kernel.
type view struct {
	watcher   *kernel.Watcher
	fib       *kernel.FIB
	announced *kernel.Announced
	// installed tells that there are routes of an earlier process.
	installed bool
}

func openView(table uint32) (v view, err error) {
	var conn *rtnl.Conn
	defer func() {
		if err != nil {
			v.close(conn)
		}
	}()
	if v.watcher, err = kernel.Watch(); err != nil {
		return v, err
	}
	if conn, err = rtnl.Dial(); err != nil {
		return v, err
	}
	if v.fib, err = kernel.OpenFIB(); err != nil {
		return v, err
	}
	installed, err := v.fib.Installed()
	if err != nil {
		return v, err
	}
	v.installed, v.announced = len(installed) > 0, kernel.NewAnnounced(conn, table)
	_, err = v.announced.Read()
	return v, err
}

func (v view) close(conn *rtnl.Conn) {
	if v.watcher != nil {
		v.watcher.Close()
	}
	if conn != nil {
		conn.Close()
	}
	if v.fib != nil {
		v.fib.Close()
	}
}

// startEngine has an engine of the configuration's identity run where there are peers, and none otherwise.
func (n *Node) startEngine(ctx context.Context) error {
	id := engine.Identity{ASN: n.config.LocalASN, RouterID: n.config.RouterID}
	if n.engine != nil && (len(n.config.Peers) == 0 || n.engine.Identity != id) {
		stopping := n.engine
		n.engine = nil
		if err := stopping.Stop(ctx, false); err != nil {
			return err
		}
		n.restarting, n.holdUntil = false, time.Time{}
	}
	if n.engine != nil || len(n.config.Peers) == 0 {
		return nil
	}
	e, err := engine.Start(id, n.log, n.routes.Fire)
	if err != nil {
		return err
	}
	n.engine = e
	if n.restarting {
		n.holdUntil = time.Now().Add(engine.DeferralTime)
		n.log.Info("restarted: the routes that are there stay until the peers have sent theirs")
	}
	return nil
}

// neighbors returns the routers to speak to: the peers that have an address, and who was found on the links of the others.
func (n *Node) neighbors() []engine.Neighbor {
	var list []engine.Neighbor
	for _, p := range n.config.Peers {
		if !p.Unnumbered() {
			addr := p.Address
			if addr.Is6() && addr.IsLinkLocalUnicast() {
				addr = addr.WithZone(p.Interface)
			}
			list = append(list, engine.Neighbor{Peer: p, Address: addr, Restarting: n.restarting})
			continue
		}
		for _, addr := range n.links[p.Name].found() {
			list = append(list, engine.Neighbor{Peer: p, Address: addr, Passive: true, Restarting: n.restarting})
		}
	}
	return list
}

// announce announces what the table holds and the configuration allows, and nothing else.
func (n *Node) announce() error {
	var errs []error
	for _, p := range n.engine.Announced() {
		errs = append(errs, n.engine.Announce(p, n.announced.Has(p) && n.rules.Exports(p)))
	}
	for _, p := range n.announced.Prefixes() {
		errs = append(errs, n.engine.Announce(p, n.rules.Exports(p)))
	}
	return errors.Join(errs...)
}

// watch follows the kernel's news.
func (n *Node) watch(ctx context.Context, w *kernel.Watcher) {
	err := w.Run(ctx, func(messages []syscall.NetlinkMessage) {
		n.mu.Lock()
		defer n.mu.Unlock()
		news := n.announced.Take(messages)
		if news.Unsure {
			n.read()
		}
		n.changed(news.Announced)
		if news.Main {
			n.routes.Fire()
		}
	})
	if err != nil { // the scans go on
		n.log.Error("the kernel is read every "+scanEvery.String()+" alone", "error", err)
	}
}

// scan reads the kernel from time to time, whatever it has told.
func (n *Node) scan(ctx context.Context) {
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.mu.Lock()
			n.read()
			if n.engine != nil {
				_ = n.marker.write() // Configure has told of an error
			}
			n.mu.Unlock()
			n.routes.Fire()
		}
	}
}

// read reads the announcement table whole.
func (n *Node) read() {
	changed, err := n.announced.Read()
	if err != nil {
		n.log.Error("read the announcement table", "error", err)
		return
	}
	n.changed(changed)
}

// changed announces prefixes that have come, and withdraws those that have gone.
func (n *Node) changed(prefixes []netip.Prefix) {
	if len(prefixes) == 0 {
		return
	}
	for _, p := range prefixes {
		if n.isTaken(p) { // the node's own wins over what a router sends back
			n.routes.Fire()
		}
		if n.engine == nil {
			return
		}
		if err := n.engine.Announce(p, n.announced.Has(p) && n.rules.Exports(p)); err != nil {
			n.log.Error("follow the announcement table", "error", err)
		}
	}
}

func (n *Node) isTaken(p netip.Prefix) bool {
	for _, prefixes := range n.taken {
		if prefixes[p] {
			return true
		}
	}
	return false
}
