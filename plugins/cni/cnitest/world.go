// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// reporter is what a rule needs of a *testing.T. Fatalf ends the rule.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// rule is one thing that a plugin must do, and how that is seen.
type rule struct {
	name, says, spec string
	play             func(*world)
}

// world is the stage of one rule: a host, containers on it, and the plugin.
type world struct {
	reporter
	rule     rule
	plugin   Plugin
	versions []string
	pods     []*pod

	tmp        string // everything that the world keeps in files
	dir        string // of that, the plugin's
	host       namespace
	namespaces []namespace
}

// Attachments belong to network unless a rule says otherwise.
const (
	network      = "cnitest"
	otherNetwork = "cnitest-other"
)

// pod is one attachment with its container.
type pod struct {
	Attachment
	ns   namespace
	prev *current.Result
}

// check plays the rule on a fresh world.
func (r rule) check(t reporter, p Plugin, versions []string) {
	t.Helper()
	w := &world{reporter: t, rule: r, plugin: p, versions: versions}
	defer func() {
		if err := w.close(); err != nil {
			t.Fatalf("tidy up: %v", err)
		}
	}()
	w.open()
	r.play(w)
}

func (w *world) open() {
	w.Helper()
	var err error
	if w.tmp, err = os.MkdirTemp("", "flt-cnitest-"); err != nil {
		w.Fatalf("make a directory: %v", err)
	}
	if w.dir = filepath.Join(w.tmp, "state"); os.Mkdir(w.dir, 0o755) != nil {
		w.Fatalf("make %s", w.dir)
	}
	w.host = w.namespace("host")
	if w.plugin.Setup != nil {
		w.hook("Setup", func() error { return w.plugin.Setup(w.Host()) })
	}
	if w.plugin.Warm {
		warm := w.newPod()
		w.del(warm, w.add(warm))
		w.drop(warm)
	}
}

// namespace makes a network namespace that close removes.
func (w *world) namespace(name string) namespace {
	w.Helper()
	n, err := newNamespace(filepath.Join(w.tmp, name))
	if err != nil {
		w.Fatalf("%v", err)
	}
	w.namespaces = append(w.namespaces, n)
	return n
}

func (w *world) close() error {
	var errs []error
	for _, n := range w.namespaces {
		errs = append(errs, n.remove())
	}
	return errors.Join(append(errs, os.RemoveAll(w.tmp))...)
}

// Host returns the host as hooks see it.
func (w *world) Host() Host { return Host{Dir: w.dir, Netns: w.host.path} }

// hook runs one of the author's functions inside the host.
func (w *world) hook(name string, f func() error) {
	w.Helper()
	if err := In(w.host.path, f); err != nil {
		w.Fatalf("cnitest.Plugin.%s: %v", name, err)
	}
}

// broken ends the rule: the plugin does not keep it.
func (w *world) broken(format string, args ...any) {
	w.Helper()
	w.Fatalf("%s\n\trule: %s\n\tspec: %s", fmt.Sprintf(format, args...), w.rule.says, w.rule.spec)
}

// newest is the newest version that the plugin supports.
func (w *world) newest() string { return w.versions[len(w.versions)-1] }

// newPod makes a container, and what the plugins before this one make for it.
func (w *world) newPod() *pod {
	w.Helper()
	return w.newPodOn(network)
}

func (w *world) newPodOn(network string) *pod {
	w.Helper()
	index := len(w.pods) + 1
	ns := w.namespace(fmt.Sprintf("container%d", index))
	p := &pod{ns: ns, Attachment: Attachment{
		Network: network, IfName: "eth0", Netns: ns.path, Index: index,
		// As long as those of containerd, and of the same letters.
		ContainerID: fmt.Sprintf("%060x%04x", os.Getpid(), index),
	}}
	w.pods = append(w.pods, p)
	if w.plugin.Stands == Chained {
		w.hook("PrevResult", func() (err error) {
			p.prev, err = w.plugin.PrevResult(w.Host(), p.Attachment)
			return err
		})
		if p.prev.DNS.IsEmpty() { // something to pass on that no plugin here has a use for
			p.prev.DNS = types.DNS{Nameservers: []string{"192.0.2.53"}, Search: []string{"cnitest.example"}}
		}
	}
	return p
}

// drop removes the container's namespace, as when the container is gone.
func (w *world) drop(p *pod) {
	w.Helper()
	if err := p.ns.remove(); err != nil {
		w.Fatalf("%v", err)
	}
	p.ns = namespace{}
}

func (w *world) look() (snapshot, error) {
	var all snapshot
	for i := -1; i < len(w.pods); i++ {
		ns, label := w.host, hostLine
		if i >= 0 {
			ns, label = w.pods[i].ns, fmt.Sprintf("container %d: ", i+1)
		}
		if ns.path == "" {
			continue
		}
		lines, err := observeNamespace(ns)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			all = append(all, label+line)
		}
	}
	own, err := w.own()
	for _, line := range own {
		all = append(all, ownLine+line)
	}
	return all, err
}

func (w *world) own() (lines []string, err error) {
	if w.plugin.Observe == nil {
		return nil, nil
	}
	err = In(w.host.path, func() error {
		lines, err = w.plugin.Observe(w.Host())
		return err
	})
	if err != nil {
		err = fmt.Errorf("cnitest.Plugin.Observe: %w", err)
	}
	return lines, err
}

// state returns what there is, once it has settled.
func (w *world) state() snapshot {
	w.Helper()
	s, err := settle(w.look)
	if err != nil {
		w.Fatalf("look at the state: %v", err)
	}
	return s
}

// same fails the rule unless there is what there was.
func (w *world) same(want snapshot, when string) {
	w.Helper()
	w.compare(want, when, w.look)
}

// sameHost is same without what is inside containers.
func (w *world) sameHost(want snapshot, when string) {
	w.Helper()
	w.compare(want.host(), when, func() (snapshot, error) {
		now, err := w.look()
		return now.host(), err
	})
}

func (w *world) compare(want snapshot, when string, look func() (snapshot, error)) {
	w.Helper()
	diff, err := await(want, look)
	if err != nil {
		w.Fatalf("look at the state: %v", err)
	}
	if diff != "" {
		w.broken("%s, something is left or lost (- gone, + new):\n%s", when, diff)
	}
}
